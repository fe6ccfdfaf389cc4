//! The memory that processes share, as calls from inside of each of them find it: what a process
//! must not write, no call makes writable.

use std::fs;
use std::ops::Range;

use nix::libc;
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::harness::{Folder, Tine, children};

/// A mapping of shared memory (proc_pid_maps(5)).
struct Mapping {
    addresses: Range<u64>,
    is_writable: bool,
    name: String,
}

fn shared_mappings(pid: Pid) -> Vec<Mapping> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let parse = |line: &str| {
        let columns: Vec<&str> = line.split_ascii_whitespace().collect();
        let [range, rights, .., name, _] = columns[..] else { return None };
        let name = name.strip_prefix("/memfd:tine-")?.to_owned();
        let number = |hex: &str| u64::from_str_radix(hex, 16).unwrap();
        let (start, end) = range.split_once('-').unwrap();
        let addresses = number(start)..number(end);
        Some(Mapping { addresses, is_writable: rights.contains('w'), name })
    };
    maps.lines().filter_map(parse).collect()
}

/// A process that waits in a system call, and makes others instead for as long as this lives.
struct Traced {
    pid: Pid,
    registers: libc::user_regs_struct,
}

impl Traced {
    fn new(pid: Pid) -> Self {
        ptrace::attach(pid).unwrap();
        assert!(matches!(waitpid(pid, None), Ok(WaitStatus::Stopped(_, Signal::SIGSTOP))));
        let mut registers = ptrace::getregs(pid).unwrap();
        let syscall = registers.rip - 2;
        let instruction = ptrace::read(pid, syscall as ptrace::AddressType).unwrap();
        assert_eq!(instruction & 0xffff, 0x050f, "{pid} is not in a system call");
        // As if it were about to make its call, so that it is made again in the end.
        (registers.rip, registers.rax) = (syscall, registers.orig_rax);
        registers.orig_rax = u64::MAX;
        Self { pid, registers }
    }

    /// Makes a call, and returns what it returned: an error as a negative number.
    fn call(&self, number: i64, [first, second, third]: [u64; 3]) -> i64 {
        let mut registers = self.registers;
        registers.rax = number.cast_unsigned();
        (registers.rdi, registers.rsi, registers.rdx) = (first, second, third);
        ptrace::setregs(self.pid, registers).unwrap();
        ptrace::step(self.pid, None).unwrap();
        assert!(matches!(waitpid(self.pid, None), Ok(WaitStatus::Stopped(_, Signal::SIGTRAP))));
        ptrace::getregs(self.pid).unwrap().rax.cast_signed()
    }

    /// Tries to make pages writable.
    fn make_writable(&self, &Range { start, end }: &Range<u64>) -> i64 {
        let rights = (libc::PROT_READ | libc::PROT_WRITE) as u64;
        self.call(libc::SYS_mprotect, [start, end - start, rights])
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        let _ = ptrace::setregs(self.pid, self.registers);
        let _ = ptrace::detach(self.pid, None);
    }
}

#[test]
fn no_child_can_make_memory_writable_that_another_process_writes() {
    let folder = Folder::new(&[("a.txt", b"a")]);
    let tine = Tine::serve(&folder, &["--workers", "2"]);
    for child in children(tine.master()) {
        let name = fs::read_to_string(format!("/proc/{child}/comm")).unwrap();
        let is_compiler = name.trim_end() == "tine-compiler";
        let mappings = shared_mappings(child);
        let traced = Traced::new(child);
        for Mapping { addresses, is_writable, name: memory } in &mappings {
            // Where a process may write, the call works, or refusals would prove nothing.
            let may_write = *is_writable || is_compiler && memory == "arena";
            let expected = if may_write { 0 } else { -i64::from(libc::EACCES) };
            assert_eq!(traced.make_writable(addresses), expected, "{memory} in {name}");
        }
        drop(traced);
        let writable = mappings.iter().filter(|mapping| mapping.is_writable);
        let writable: Vec<&str> = writable.map(|mapping| &*mapping.name).collect();
        // Its slot; and the page in which the compiler publishes.
        assert_eq!(writable, vec!["scoreboard"; if is_compiler { 2 } else { 1 }], "{name}");
        let has_arena = mappings.iter().any(|mapping| mapping.name == "arena");
        assert_eq!(has_arena, is_compiler || name.trim_end() == "tine-worker", "{name}");
    }
    assert_eq!(tine.get("/a.txt").text(), "a");
}
