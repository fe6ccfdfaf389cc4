//! Leaves unwind tables and duplicate functions out of the shipped binary; tests do unwind.

fn main() {
    println!("cargo::rerun-if-changed=.cargo/no-unwinding.ld");
    let is_shipped = std::env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|libc| libc == "musl");
    if is_shipped {
        for arg in ["-T.cargo/no-unwinding.ld", "--icf=all"] {
            println!("cargo::rustc-link-arg-bins={arg}");
        }
    }
}
