//! Debian's chromium, told what to do through a pair of pipes (the Chrome DevTools Protocol).

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

use serde_json::{Value, json};

use crate::harness::{Folder, PATIENCE, within};

pub struct Chromium {
    child: Child,
    words: ChildStdin,
    heard: Receiver<Value>,
    calls: u64,
    /// The only tab.
    session: String,
    /// What the browser told unasked and nobody has taken yet.
    events: Vec<Value>,
    /// Whether an error is no reason to give up.
    is_patient: bool,
    _profile: Folder,
}

/// One request of the browser's, as it tells it.
#[derive(Debug)]
pub struct Exchange {
    /// Without the server's name.
    pub path: String,
    /// As it was on the wire; none if nothing went over it.
    pub status: Option<u64>,
    pub content_range: Option<String>,
    pub media_type: String,
}

impl Chromium {
    pub fn start() -> Self {
        let profile = Folder::new(&[]);
        let flags = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-sync",
            "--disable-background-networking",
            "--disable-component-update",
            "--no-first-run",
            "--autoplay-policy=no-user-gesture-required",
            "--remote-debugging-pipe",
        ];
        // It reads from descriptor 3 and writes to 4.
        let mut child = Command::new("sh")
            .args(["-c", "exec chromium \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1", "sh"])
            .args(flags)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (words, told) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, heard) = channel();
        thread::spawn(move || {
            for text in BufReader::new(told).split(0) {
                let Ok(text) = text else { break };
                if sender.send(serde_json::from_slice(&text).unwrap()).is_err() {
                    break;
                }
            }
        });
        let (session, events) = (String::new(), Vec::new());
        let mut chromium = Self {
            child,
            words,
            heard,
            calls: 0,
            session,
            events,
            is_patient: false,
            _profile: profile,
        };
        let target = chromium.call("Target.createTarget", &json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = chromium.call("Target.attachToTarget", &attach);
        attached["sessionId"].as_str().unwrap().clone_into(&mut chromium.session);
        for domain in ["Page", "Network", "Runtime", "Log"] {
            chromium.call(&format!("{domain}.enable"), &json!({}));
        }
        chromium
    }

    /// Asks for something and waits for the answer.
    fn call(&mut self, method: &str, params: &Value) -> Value {
        self.calls += 1;
        let id = self.calls;
        let mut message = json!({"id": id, "method": method, "params": params});
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        self.words.write_all(format!("{message}\0").as_bytes()).unwrap();
        let mut answer = self.hear(|message| message["id"] == id);
        assert!(answer["error"].is_null() || self.is_patient, "{method}: {answer}");
        answer["result"].take()
    }

    /// Waits for a message; events before it are kept.
    fn hear(&mut self, is_it: impl Fn(&Value) -> bool) -> Value {
        // To start it alone takes some seconds.
        let deadline = Instant::now() + 3 * PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let message = self.heard.recv_timeout(left).expect("a word from chromium");
            if is_it(&message) {
                return message;
            }
            self.events.push(message);
        }
    }

    /// Does something that loads a page, and waits until that is there with all its parts.
    fn load(&mut self, method: &str, params: &Value) {
        self.events.clear();
        self.call(method, params);
        let is_loaded = |event: &Value| event["method"] == "Page.loadEventFired";
        if !self.events.iter().any(is_loaded) {
            let event = self.hear(is_loaded);
            self.events.push(event);
        }
    }

    pub fn navigate(&mut self, url: &str) {
        self.load("Page.navigate", &json!({"url": url}));
    }

    /// Pretends to be a screen of that width, in CSS pixels, of somebody who likes that scheme.
    pub fn look_like(&mut self, scheme: &str, width: u32) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", &json!({"features": features}));
        let metrics =
            json!({"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", &metrics);
    }

    pub fn without_scripts(&mut self) {
        self.call("Emulation.setScriptExecutionDisabled", &json!({"value": true}));
    }

    /// What an element shows, also where no script may run; nothing while a page is being left.
    pub fn text_of(&mut self, selector: &str) -> String {
        self.is_patient = true;
        let document = self.call("DOM.getDocument", &json!({}));
        let root = &document["root"]["nodeId"];
        let found = self.call("DOM.querySelector", &json!({"nodeId": root, "selector": selector}));
        let html = self.call("DOM.getOuterHTML", &json!({"nodeId": found["nodeId"]}));
        self.is_patient = false;
        let html = html["outerHTML"].as_str().unwrap_or_default().replace("<dd>", "\n");
        // The tags are taken out; what stands between them is left.
        html.split('<').map(|part| part.split_once('>').map_or(part, |(_, text)| text)).collect()
    }

    pub fn reload_without_cache(&mut self) {
        self.load("Page.reload", &json!({"ignoreCache": true}));
    }

    /// The value of an expression, or of the promise that it is.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let params = json!({
            "expression": expression, "awaitPromise": true, "returnByValue": true
        });
        let mut answer = self.call("Runtime.evaluate", &params);
        let is_well = answer["exceptionDetails"].is_null();
        assert!(is_well || self.is_patient, "{expression}: {answer}");
        answer["result"]["value"].take()
    }

    /// Waits until an expression is true; the page may be another one meanwhile.
    pub fn until(&mut self, expression: &str) {
        let deadline = Instant::now() + PATIENCE;
        // A page that is being left answers with an error.
        self.is_patient = true;
        while self.evaluate(expression) != true {
            assert!(Instant::now() < deadline, "in vain: {expression}");
        }
        self.is_patient = false;
    }

    /// What went over the network since the last page was asked for.
    pub fn exchanges(&mut self) -> Vec<Exchange> {
        // Whatever is told before this is answered is there then; what was on the wire is told
        // apart, and may come later.
        self.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done)))");
        while self.is_some_of_the_wire_untold() {
            let event = self.hear(|_| true);
            self.events.push(event);
        }
        let on_the_wire = self.told("Network.responseReceivedExtraInfo");
        let responses = self.responses().into_iter();
        let exchange = |response: Value| {
            let url = response["response"]["url"].as_str().unwrap();
            let wire = on_the_wire.iter().find(|wire| wire["requestId"] == response["requestId"]);
            let field = |name: &str| response["response"]["headers"][name].as_str();
            Exchange {
                path: url.splitn(4, '/').nth(3).map(|path| format!("/{path}")).unwrap_or_default(),
                status: wire.and_then(|wire| wire["statusCode"].as_u64()),
                content_range: field("Content-Range").map(str::to_owned),
                media_type: response["response"]["mimeType"].as_str().unwrap().to_owned(),
            }
        };
        responses.map(exchange).collect()
    }

    fn told(&self, method: &str) -> Vec<Value> {
        let named = self.events.iter().filter(|event| event["method"] == method);
        named.map(|event| event["params"].clone()).collect()
    }

    /// The responses to what was asked for since; those to an earlier page's requests may be late.
    fn responses(&self) -> Vec<Value> {
        let sent = self.told("Network.requestWillBeSent");
        let mut responses = self.told("Network.responseReceived");
        responses.retain(|response| {
            sent.iter().any(|request| request["requestId"] == response["requestId"])
        });
        responses
    }

    fn is_some_of_the_wire_untold(&self) -> bool {
        let told = self.told("Network.responseReceivedExtraInfo");
        self.responses().iter().any(|response| {
            response["hasExtraInfo"] == true
                && !told.iter().any(|wire| wire["requestId"] == response["requestId"])
        })
    }

    /// What the browser complains of since the last page was asked for.
    pub fn complaints(&self) -> Vec<String> {
        let entries = self.told("Log.entryAdded").into_iter();
        entries.map(|params| params["entry"]["text"].to_string()).collect()
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // It leaves with all its processes when nobody talks to it any more.
        let _ = self.words.write_all(b"{\"id\":0,\"method\":\"Browser.close\"}\0");
        if within(PATIENCE, || self.child.try_wait().ok().flatten()).is_none() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}
