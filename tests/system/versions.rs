//! Versions of a site that can be told apart by every body, and how they are brought.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::harness::Folder;

pub const FILES: usize = 10;

/// What a file says in a version of the site: which of them it is, many times over.
pub fn text(version: u64, file: usize) -> String {
    format!("{version:06}.{file} ").repeat(200)
}

pub fn write_version(folder: &Path, version: u64) {
    fs::create_dir_all(folder).unwrap();
    for file in 0..FILES {
        fs::write(folder.join(format!("{file}.txt")), text(version, file)).unwrap();
    }
    fs::write(folder.join("index.html"), version.to_string()).unwrap();
}

/// Makes `link` lead elsewhere, at once.
pub fn flip(link: &Path, target: &str) {
    let new = link.parent().unwrap().join(".new");
    symlink(target, &new).unwrap();
    fs::rename(&new, link).unwrap();
}

/// A volume as Kubernetes makes it of a ConfigMap, at version 0.
pub fn volume() -> Folder {
    let folder = Folder::new(&[]);
    write_version(&folder.join("..0"), 0);
    symlink("..0", folder.join("..data")).unwrap();
    for name in (0..FILES).map(|file| format!("{file}.txt")).chain(["index.html".to_owned()]) {
        symlink(format!("..data/{name}"), folder.join(name)).unwrap();
    }
    folder
}

/// The next version of a volume, as kubelet makes it: written aside, flipped, the former removed.
pub fn publish(folder: &Folder, version: u64) {
    write_version(&folder.join(format!("..{version}")), version);
    flip(&folder.join("..data"), &format!("..{version}"));
    fs::remove_dir_all(folder.join(format!("..{}", version - 1))).unwrap();
}
