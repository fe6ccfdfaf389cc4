//! Programs that people download with.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::harness::{Answer, Folder, Tine, get};

/// Bytes of which no two stretches are alike.
fn body() -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(7);
    std::iter::repeat_with(|| rng.u8(..)).take(3_000_000).collect()
}

/// Runs a program that is to go on with half a download, and compares what it comes to.
fn resume(program: &str, args: &[&str]) {
    let body = body();
    for memory_file_max in ["64KiB", "8MiB"] {
        let folder = Folder::new(&[("file.bin", &body)]);
        let tine = Tine::serve(&folder, &["--memory-file-max", memory_file_max]);
        let target = Folder::new(&[("file.bin", &body[..1_234_567])]);
        let url = format!("http://{}/file.bin", tine.address);
        let status = Command::new(program).args(args).arg(&url).current_dir(target.path()).status();
        assert!(status.unwrap().success());
        assert!(fs::read(target.join("file.bin")).unwrap() == body, "{program} got another file");
    }
}

#[test]
fn curl_goes_on_with_a_broken_download() {
    resume("curl", &["--silent", "--fail", "--remote-name", "--continue-at", "-"]);
}

#[test]
fn wget_goes_on_with_a_broken_download() {
    resume("wget", &["--quiet", "--continue"]);
}

#[test]
fn python_frames_its_requests_in_odd_ways() {
    let folder = Folder::new(&[("a.txt", b"some text\n"), ("folder/index.html", b"x")]);
    let tine = Tine::serve(&folder, &[]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/odd_framings.py");
    let mut python = Command::new("python3");
    python.arg(script).arg(tine.address.to_string()).arg(folder.join("a.txt"));
    assert!(python.status().unwrap().success());
}

/// The answer to a range that depends on what the file was.
fn ask_if(tine: &Tine, validator: &str) -> Answer {
    let mut client = tine.connect();
    let fields = format!("\r\nRange: bytes=1000-1009\r\nIf-Range: {validator}\r\n\r\n");
    client.send(get("/file.bin").replace("\r\n\r\n", &fields));
    client.answer()
}

#[test]
fn a_file_that_changed_meanwhile_is_not_gone_on_with() {
    let body = body();
    let folder = Folder::new(&[("file.bin", &body)]);
    folder.date("file.bin", 1_400_000_000);
    let held = Tine::serve(&folder, &["--memory-file-max", "8MiB"]);
    let etag = held.get("/file.bin").field("ETag").unwrap().to_owned();
    let part = ask_if(&held, &etag);
    assert_eq!((part.status(), &part.body[..]), (206, &body[1000..1010]));
    assert_eq!(ask_if(&held, "\"another\"").status(), 200);
    // A large one goes by its date, and by what that is now.
    let large = Tine::serve(&folder, &[]);
    let date = large.get("/file.bin").field("Last-Modified").unwrap().to_owned();
    assert_eq!(ask_if(&large, &date).status(), 206);
    folder.date("file.bin", 1_500_000_000);
    assert_eq!(ask_if(&large, &date).body, body);
}
