//! The manifests: each sensible set of components is rendered by kubectl, validated against the
//! schemas of all supported versions, linted, and compared with what the program really does.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tine::cli::{self, SETTINGS, Setting};
use tine::config::{ADMIN_PORT, Config, PORT, User};

use crate::kustomize::{TOP, environment, find, objects, render, rendered, shipped, tool};

/// The versions of Kubernetes that README and manifests are for.
const VERSIONS: [&str; 9] =
    ["1.29", "1.30", "1.31", "1.32", "1.33", "1.34", "1.35", "1.36", "1.37"];

/// Sets of components that go together, each behind the base.
pub const COMPOSITIONS: [&[&str]; 14] = [
    &[],
    &["html-configmap"],
    &["html-configmap-live"],
    &["html-pvc"],
    &["html-git-sync"],
    &["hpa"],
    &["pdb", "networkpolicy"],
    &["html-configmap", "hpa", "pdb", "networkpolicy", "ingress"],
    &["html-configmap-live", "podmonitor", "alerts", "dashboards"],
    &["html-pvc", "hpa", "pdb", "networkpolicy", "httproute", "podmonitor"],
    &["networkpolicy", "html-git-sync", "pdb", "ingress"],
    &["html-pvc", "openshift-route"],
    &["networkpolicy", "html-git-sync", "hpa", "pdb", "openshift-route", "podmonitor", "alerts"],
    &["ingress", "httproute", "dashboards"],
];

fn is_custom(object: &Value) -> bool {
    let group = object["apiVersion"].as_str().unwrap().split('/').next().unwrap();
    ["gateway.networking.k8s.io", "monitoring.coreos.com", "route.openshift.io"].contains(&group)
}

/// The fields of custom resources that we set, by kind; what the schemas of others say of them.
fn check_custom(object: &Value) {
    let (spec, version) = (&object["spec"], object["apiVersion"].as_str().unwrap());
    match (version, object["kind"].as_str().unwrap()) {
        ("gateway.networking.k8s.io/v1", "HTTPRoute") => {
            assert!(spec["parentRefs"][0]["name"].is_string());
            let backend = &spec["rules"][0]["backendRefs"][0];
            assert_eq!((&backend["name"], &backend["port"]), (&"tine".into(), &80.into()));
        }
        ("monitoring.coreos.com/v1", "PodMonitor") => {
            assert_eq!(spec["selector"]["matchLabels"]["app.kubernetes.io/name"], "tine");
            let endpoint = &spec["podMetricsEndpoints"][0];
            assert_eq!(
                (&endpoint["port"], &endpoint["path"]),
                (&"admin".into(), &"/metrics".into())
            );
        }
        ("monitoring.coreos.com/v1", "PrometheusRule") => {
            assert!(spec["groups"][0]["rules"].as_array().unwrap().len() > 3);
        }
        ("route.openshift.io/v1", "Route") => {
            assert_eq!(
                (&spec["to"]["kind"], &spec["to"]["name"]),
                (&"Service".into(), &"tine".into())
            );
            assert_eq!(spec["port"]["targetPort"], "http");
        }
        other => panic!("a custom resource that nobody knows: {other:?}"),
    }
}

/// What the strictest of the Pod Security Standards asks for ("restricted").
fn check_restricted(pod: &Value) {
    let security = &pod["securityContext"];
    assert_eq!(security["runAsNonRoot"], true);
    assert_eq!(security["seccompProfile"]["type"], "RuntimeDefault");
    assert_eq!(
        (&pod["automountServiceAccountToken"], &pod["enableServiceLinks"]),
        (&false.into(), &false.into())
    );
    for forbidden in ["hostNetwork", "hostPID", "hostIPC"] {
        assert!(pod[forbidden].is_null());
    }
    let all = ["containers", "initContainers"].iter();
    let containers = all.flat_map(|kind| pod[kind].as_array().into_iter().flatten());
    for container in containers {
        let security = &container["securityContext"];
        assert_eq!(security["allowPrivilegeEscalation"], false, "{container}");
        assert_eq!(security["readOnlyRootFilesystem"], true);
        assert_eq!(security["capabilities"], serde_json::json!({"drop": ["ALL"]}));
        assert!(
            container["ports"]
                .as_array()
                .is_none_or(|ports| ports.iter().all(|port| port["hostPort"].is_null()))
        );
        let resources = &container["resources"];
        assert!(
            resources["requests"]["memory"].is_string()
                && resources["limits"]["memory"].is_string()
        );
        assert!(resources["limits"]["cpu"].is_null());
    }
    let allowed = ["configMap", "emptyDir", "persistentVolumeClaim", "image"];
    for volume in pod["volumes"].as_array().into_iter().flatten() {
        let kinds: Vec<_> =
            volume.as_object().unwrap().keys().filter(|key| *key != "name").collect();
        assert!(kinds.len() == 1 && allowed.contains(&kinds[0].as_str()), "{volume}");
    }
}

#[test]
fn every_composition_renders_is_valid_and_restricted() {
    let mut texts: Vec<_> = COMPOSITIONS.iter().map(|set| rendered(set, "")).collect();
    texts.extend(["minimal", "production"].map(shipped));
    let mut standard = String::new();
    for text in &texts {
        let objects = objects(text);
        check_restricted(&find(&objects, "Deployment")["spec"]["template"]["spec"]);
        for (object, part) in objects.iter().zip(text.split("\n---\n")) {
            if is_custom(object) {
                check_custom(object);
            } else {
                standard += &format!("{part}\n---\n");
            }
        }
    }
    validate(&standard, &VERSIONS);
    // A volume from an image is younger.
    let with_image = rendered(&["html-image"], "");
    check_restricted(&find(&objects(&with_image), "Deployment")["spec"]["template"]["spec"]);
    validate(&with_image, &VERSIONS[4..]);
    println!("{} compositions, {} versions of Kubernetes", texts.len() + 1, VERSIONS.len());
}

fn validate(yaml: &str, versions: &[&str]) {
    let file = Path::new(TOP).join("target/k8s/all.yaml");
    fs::write(&file, yaml).unwrap();
    for version in versions {
        let mut command = tool("kubernetes-validate");
        let output = command.args(["-k", version, "--strict"]).arg(&file).output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success() && said.contains("passed"), "{version}: {said}");
        assert!(!said.contains("ERROR") && !said.contains("WARN"), "{version}: {said}");
    }
}

#[test]
fn components_that_exclude_one_another_say_so() {
    for entry in fs::read_dir(Path::new(TOP).join("k8s/components")).unwrap() {
        let folder = entry.unwrap().path();
        let text = fs::read_to_string(folder.join("kustomization.yaml")).unwrap();
        let name = folder.file_name().unwrap().to_str().unwrap();
        assert!(text.starts_with("# "), "{name} does not say what it is");
        assert_eq!(name.starts_with("html-"), text.contains("Excludes the other html-"), "{name}");
        // And each is used, alone or with others.
        let is_used = COMPOSITIONS.iter().any(|set| set.contains(&name)) || name == "html-image";
        assert!(is_used, "{name} is in no composition");
    }
}

/// Checks of checkov that we do not follow, with the reason for each.
const SKIPPED: [(&str, &[&str], &str); 5] = [
    ("CKV_K8S_21", &BOTH, "the namespace is chosen by whoever applies"),
    ("CKV_K8S_11", &BOTH, "a CPU limit throttles bursts, and the probes with them"),
    ("CKV_K8S_43", &BOTH, "the digest is that of the reader's own registry"),
    ("CKV_K8S_15", &BOTH, "images that were loaded into kind or k3s cannot be pulled"),
    ("CKV2_K8S_6", &["minimal"], "a first look needs no NetworkPolicy; production has one"),
];
const BOTH: [&str; 2] = ["minimal", "production"];

#[test]
fn linters_have_nothing_to_say_but_what_has_its_reason() {
    let top = Path::new(TOP);
    let config = top.join("k8s/.yamllint");
    let output =
        tool("yamllint").arg("-s").arg("-c").arg(config).arg(top.join("k8s")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    for overlay in BOTH {
        let skipped = SKIPPED.iter().filter(|(_, overlays, _)| overlays.contains(&overlay));
        let skipped: Vec<_> = skipped.map(|(check, ..)| *check).collect();
        let file = top.join(format!("target/k8s/{overlay}.yaml"));
        fs::write(&file, shipped(overlay)).unwrap();
        let output = tool("checkov")
            .args(["--framework", "kubernetes", "--quiet", "--compact", "--skip-download"])
            .args(["--output", "json", "--skip-check", &skipped.join(",")])
            .arg("--file")
            .arg(&file)
            .output()
            .unwrap();
        let report = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{overlay}: {report}");
        let report: Value = serde_json::from_str(&report).unwrap();
        assert!(report["summary"]["passed"].as_u64().unwrap() > 60, "{overlay}: {report}");
    }
}

fn read(environment: &BTreeMap<String, String>) -> Config {
    let variables = environment.iter().map(|(name, value)| (name.into(), value.into()));
    match cli::parse([], variables) {
        Ok(cli::Command::Serve(config, warnings)) => {
            assert_eq!(warnings, [""; 0]);
            *config
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn manifests_and_program_agree() {
    let dockerfile = fs::read_to_string(Path::new(TOP).join("Dockerfile")).unwrap();
    let of_image = |name: &str| {
        let value = dockerfile.split(&format!("{name}=")).nth(1).expect(name);
        value.split_whitespace().next().unwrap().to_owned()
    };
    let (root, admin) = (of_image("TINE_ROOT"), of_image("TINE_ADMIN_LISTEN"));
    let user = User::DEFAULT;
    assert!(dockerfile.contains(&format!("USER {}:{}", user.uid, user.gid)));
    assert!(admin.ends_with(&format!(":{ADMIN_PORT}")));
    for set in COMPOSITIONS {
        let objects = objects(&rendered(set, ""));
        let deployment = &find(&objects, "Deployment")["spec"];
        let pod = &deployment["template"]["spec"];
        let container = &pod["containers"][0];
        let environment = environment(container);
        let known: Vec<_> = SETTINGS.iter().map(Setting::variable).collect();
        for name in environment.keys() {
            assert!(known.contains(name) || name == "TINE_ROOT", "{name} is no setting");
        }
        let config = read(&environment);
        let grace = Duration::from_secs(pod["terminationGracePeriodSeconds"].as_u64().unwrap());
        let needed = config.shutdown_delay + config.drain_timeout + Duration::from_secs(3);
        assert!(needed <= grace && !config.shutdown_delay.is_zero(), "{needed:?} of {grace:?}");
        assert_eq!(config.workers.map(std::num::NonZero::get), Some(2));

        let ports = &container["ports"];
        assert_eq!((&ports[0]["name"], &ports[0]["containerPort"]), (&"http".into(), &PORT.into()));
        let admin_port = (&ports[1]["name"], &ports[1]["containerPort"]);
        assert_eq!(admin_port, (&"admin".into(), &ADMIN_PORT.into()));
        for (probe, path) in [
            ("startupProbe", "/startupz"),
            ("livenessProbe", "/livez"),
            ("readinessProbe", "/readyz"),
        ] {
            let get = &container[probe]["httpGet"];
            assert_eq!((&get["path"], &get["port"]), (&path.into(), &"admin".into()));
        }
        let service = &find(&objects, "Service")["spec"];
        let published = service["ports"].as_array().unwrap();
        assert!(published.len() == 1 && published[0]["targetPort"] == "http", "{service}");
        assert_eq!(service["selector"], deployment["selector"]["matchLabels"]);

        let security = &pod["securityContext"];
        if set.contains(&"openshift-route") {
            assert!(security["runAsUser"].is_null() && security["runAsGroup"].is_null());
        } else {
            let ids = (security["runAsUser"].as_u64(), security["runAsGroup"].as_u64());
            assert_eq!(ids, (Some(user.uid.into()), Some(user.gid.into())));
        }
        let mounts = container["volumeMounts"].as_array();
        if let Some(mount) = mounts.and_then(|mounts| mounts.first()) {
            let path = mount["mountPath"].as_str().unwrap();
            assert_eq!(mount["readOnly"], true);
            match environment.get("TINE_ROOT") {
                None => assert_eq!(path, root),
                Some(root) => assert_eq!(*root, format!("{path}/html")),
            }
        }
        let has_replicas = !deployment["replicas"].is_null();
        assert_eq!(has_replicas, !set.contains(&"hpa"), "{set:?}");
        let rolling = &deployment["strategy"]["rollingUpdate"];
        assert_eq!(rolling["maxUnavailable"], 0);
        assert!(deployment["minReadySeconds"].as_u64().unwrap() > 0);
    }
}

#[test]
fn a_changed_configmap_rolls_or_flips_as_the_component_says() {
    let name = |component: &str| {
        let objects = objects(&rendered(&[component], ""));
        let deployment = find(&objects, "Deployment");
        let volume = &deployment["spec"]["template"]["spec"]["volumes"][0];
        let mounted = volume["configMap"]["name"].as_str().unwrap().to_owned();
        assert_eq!(find(&objects, "ConfigMap")["metadata"]["name"], mounted.as_str());
        mounted
    };
    let hashed = name("html-configmap");
    assert!(hashed.starts_with("tine-html-") && hashed.len() > "tine-html-".len(), "{hashed}");
    assert_eq!(name("html-configmap-live"), "tine-html");
}

#[test]
fn labels_and_images_have_the_version() {
    for overlay in BOTH {
        let objects = objects(&shipped(overlay));
        let deployment = find(&objects, "Deployment");
        let pod = &deployment["spec"]["template"];
        for labels in [&deployment["metadata"]["labels"], &pod["metadata"]["labels"]] {
            assert_eq!(labels["app.kubernetes.io/version"], env!("CARGO_PKG_VERSION"));
            assert_eq!(labels["app.kubernetes.io/name"], "tine");
        }
        let image = concat!("tine:", env!("CARGO_PKG_VERSION"));
        assert_eq!(pod["spec"]["containers"][0]["image"], image);
    }
}

#[test]
fn only_monitoring_reaches_the_admin_port() {
    let objects = objects(&shipped("production"));
    let policy = &find(&objects, "NetworkPolicy")["spec"];
    for rule in policy["ingress"].as_array().unwrap() {
        let from = &rule["from"][0]["namespaceSelector"]["matchLabels"];
        let port = &rule["ports"][0]["port"];
        if *port == u64::from(PORT) {
            assert!(rule["from"].is_null());
        } else {
            assert_eq!(*port, u64::from(ADMIN_PORT));
            assert_eq!(from["kubernetes.io/metadata.name"], "monitoring");
        }
    }
    assert_eq!(policy["policyTypes"], serde_json::json!(["Ingress", "Egress"]));
}

#[test]
fn git_sync_gets_out_where_nobody_else_does() {
    let egress = |set: &[&str]| {
        let objects = objects(&rendered(set, ""));
        let policies = objects.iter().filter(|object| object["kind"] == "NetworkPolicy");
        policies.map(|policy| policy["spec"]["egress"].as_array().unwrap().len()).sum::<usize>()
    };
    assert_eq!(egress(&["networkpolicy"]), 0);
    // In any order.
    assert_eq!(egress(&["networkpolicy", "html-git-sync"]), 1);
    assert_eq!(egress(&["html-git-sync", "networkpolicy"]), 1);
}

/// What stands between fences of a kind in a text.
fn blocks<'t>(text: &'t str, kind: &str) -> Vec<&'t str> {
    let fence = format!("```{kind}\n");
    text.split(&fence).skip(1).map(|part| part.split("```").next().unwrap()).collect()
}

#[test]
fn the_readme_can_be_followed_as_far_as_it_goes_without_a_cluster() {
    let readme = fs::read_to_string(Path::new(TOP).join("k8s/README.md")).unwrap();
    let lines = blocks(&readme, "sh").concat();
    let mut rendered = 0;
    for line in lines.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        match words[..] {
            // Of the reader's own, shown below.
            ["kubectl", "apply", "-k", "k8s/overlays/web"]
            | ["kubectl", "create", "namespace", "web"] => {}
            ["kubectl", "apply", "-k", path] | ["kubectl", "kustomize", path, ..] => {
                render(&Path::new(TOP).join(path));
                rendered += 1;
            }
            // What needs a cluster names things that the base has.
            ["kubectl", "rollout", _, name] | ["kubectl", "port-forward", name, _] => {
                assert!(["deployment/tine", "service/tine"].contains(&name), "{line}");
            }
            ["kubectl", "apply", "-f", "tine.yaml"] => {}
            ["docker" | "kind" | "minikube", ..] => assert!(line.contains("tine:0.1.0"), "{line}"),
            _ => panic!("nobody has tried: {line}"),
        }
    }
    assert!(rendered > 1, "{rendered}");
    // The overlay that is shown, in the place of one beside the others.
    let overlay = blocks(&readme, "yaml")[0].replace("../../", "../../../k8s/");
    let folder = Path::new(TOP).join("target/k8s/shown");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("kustomization.yaml"), overlay).unwrap();
    let objects = objects(&render(&folder));
    let pod = &find(&objects, "Deployment")["spec"]["template"]["spec"];
    assert_eq!(pod["containers"][0]["image"], "registry.example/tine:0.1.0");
    // Each component is named, and each that is named is there.
    for entry in fs::read_dir(Path::new(TOP).join("k8s/components")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let is_named =
            readme.contains(&format!("`{name}`")) || readme.contains(&format!("/{name}"));
        let is_in_an_overlay = ["hpa", "pdb", "networkpolicy"].contains(&&*name);
        assert!(is_named || is_in_an_overlay, "{name} is not in the README");
    }
}
