//! kubectl, and what it makes of the manifests.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

pub const TOP: &str = env!("CARGO_MANIFEST_DIR");

/// The file that says what a name is rendered from.
fn overlay(components: &[&str], more: &str) -> PathBuf {
    let name = if components.is_empty() { "base".to_owned() } else { components.join("_") };
    let folder = Path::new(TOP).join("target/k8s").join(name);
    fs::create_dir_all(&folder).unwrap();
    let mut text = String::from(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n  \
         - ../../../k8s/base\ncomponents:\n",
    );
    for component in components {
        text += &format!("  - ../../../k8s/components/{component}\n");
    }
    let text = if components.is_empty() { text.replace("components:\n", "") } else { text };
    fs::write(folder.join("kustomization.yaml"), text + more).unwrap();
    folder
}

/// What kubectl makes of a folder.
pub fn render(folder: &Path) -> String {
    let output = Command::new("kubectl").arg("kustomize").arg(folder).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", folder.display());
    assert!(said.is_empty(), "{}: {said}", folder.display());
    String::from_utf8(output.stdout).unwrap()
}

pub fn rendered(components: &[&str], more: &str) -> String {
    render(&overlay(components, more))
}

pub fn shipped(overlay: &str) -> String {
    render(&Path::new(TOP).join("k8s/overlays").join(overlay))
}

/// A program of the virtual environment that tests/all makes.
pub fn tool(name: &str) -> Command {
    Command::new(Path::new(TOP).join("target/venv/bin").join(name))
}

/// The objects of a text.
pub fn objects(yaml: &str) -> Vec<Value> {
    let program = "import json, sys, yaml\nprint(json.dumps(list(yaml.safe_load_all(sys.stdin))))";
    let mut python = tool("python")
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(yaml.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

pub fn find<'o>(objects: &'o [Value], kind: &str) -> &'o Value {
    objects.iter().find(|object| object["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"))
}

/// The environment of a container, as the program would have it.
pub fn environment(container: &Value) -> BTreeMap<String, String> {
    let variables = container["env"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    variables.map(|variable| (text(&variable["name"]), text(&variable["value"]))).collect()
}
