//! Errors that a tracer puts into the system calls of a running process.

use std::fs;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::until;

/// A tracer, which lets go of its process when this is dropped.
pub struct Injection(Child);

impl Injection {
    /// Begins to inject: `accept4:error=ENOBUFS:when=1..3`, for example (strace(1)).
    pub fn new(pid: Pid, expression: &str) -> Self {
        let tracer = Command::new("strace")
            .args(["-qq", "-o", "/dev/null", "-e", &format!("inject={expression}")])
            .args(["-p", &pid.to_string()])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let injection = Self(tracer);
        until("it is traced", || {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            (!status.contains("TracerPid:\t0\n")).then_some(())
        });
        injection
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGINT);
        let _ = self.0.wait();
    }
}
