//! How the module is linked.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // `lua_close` unloads C modules. The standard library keeps per-thread values with destructors inside this one, and
    // a thread that ends later would run them in memory that is no longer mapped; so the module stays until the end.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
}
