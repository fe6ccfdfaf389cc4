//! Other servers, real ones. Each is given a listener that was made here, so that its port is the
//! kernel's choice and is never free in between.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd as _;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, dup};

use crate::harness::{Client, Folder, children, until};

pub struct Peer {
    child: Child,
    pub address: SocketAddr,
    /// Its configuration, and what it writes.
    folder: Folder,
}

impl Peer {
    /// nginx with what stands in its http block; `LISTEN` there is its address, `FOLDER` its own
    /// folder.
    pub fn nginx(http: &str) -> Self {
        Self::start("nginx.conf", |listener, folder| {
            let place = folder.path().display();
            let config = nginx_config(listener.local_addr().unwrap(), folder, http);
            let mut command = Command::new("nginx");
            command.args([
                "-c",
                &format!("{place}/nginx.conf"),
                "-e",
                &format!("{place}/first.log"),
            ]);
            // It takes the sockets in this variable for those of an nginx that it replaces.
            (config, command, Some("NGINX"))
        })
    }

    /// Has nginx read another configuration, and waits until nobody is left who goes by the old one
    /// for new connections.
    pub fn reload_nginx(&self, http: &str) {
        let config = nginx_config(self.address, &self.folder, http);
        self.folder.write("nginx.conf", config.as_bytes());
        let master = Pid::from_raw(self.child.id().cast_signed());
        let before = children(master);
        kill(master, Signal::SIGHUP).unwrap();
        until("nginx has new workers", || {
            children(master).iter().any(|child| !before.contains(child)).then_some(())
        });
        until("the old ones are leaving", || {
            let is_leaving = |pid: &Pid| {
                let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                line.is_empty() || String::from_utf8_lossy(&line).contains("shutting down")
            };
            before.iter().all(is_leaving).then_some(())
        });
    }

    /// haproxy in front of one server; `LISTEN` in its configuration is its listener.
    pub fn haproxy(config: &str) -> Self {
        Self::start("haproxy.cfg", |_, folder| {
            let mut command = Command::new("haproxy");
            command.args(["-db", "-q", "-f"]).arg(folder.join("haproxy.cfg"));
            (config.to_owned(), command, None)
        })
    }

    fn start(
        name: &str,
        configure: impl FnOnce(&TcpListener, &Folder) -> (String, Command, Option<&'static str>),
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let folder = Folder::new(&[]);
        let (config, mut command, variable) = configure(&listener, &folder);
        // A copy is not closed on exec.
        let inherited = dup(&listener).unwrap();
        let number = inherited.as_raw_fd();
        let config = config.replace("LISTEN", &format!("fd@{number}"));
        folder.write(name, config.as_bytes());
        if let Some(variable) = variable {
            command.env(variable, format!("{number};"));
        }
        let errors = fs::File::create(folder.join("stderr")).unwrap();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors).spawn();
        Self { child: child.unwrap(), address, folder }
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.address)
    }
}

fn nginx_config(address: SocketAddr, folder: &Folder, http: &str) -> String {
    let place = folder.path().display();
    let http = http.replace("LISTEN", &address.to_string());
    format!(
        "daemon off; user root; worker_processes 1; pid {place}/pid;\n\
         error_log {place}/error.log info; events {{}}\nhttp {{\n\
         client_body_temp_path {place}/body; proxy_temp_path {place}/proxy;\n\
         fastcgi_temp_path {place}/f; uwsgi_temp_path {place}/u;\n\
         scgi_temp_path {place}/s;\n{}\n}}\n",
        http.replace("FOLDER", &place.to_string())
    )
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It has children of its own to end.
        let pid = Pid::from_raw(self.child.id().cast_signed());
        let _ = kill(pid, Signal::SIGTERM);
        let _ = self.child.wait();
    }
}
