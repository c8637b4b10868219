//! Compiles the message descriptions in `schema/` into Rust (`$OUT_DIR/messages.rs`). The form is described in `schema/README.md`.

#[path = "build/emit.rs"]
mod emit;
#[path = "build/emit_codec.rs"]
mod emit_codec;
#[path = "build/schema.rs"]
mod schema;

use std::{env, fs, path::Path};

fn main() {
    println!("cargo::rerun-if-changed=schema");
    println!("cargo::rerun-if-changed=build");
    let mut paths: Vec<_> = fs::read_dir("schema")
        .expect("the schema folder lies beside build.rs")
        .map(|entry| entry.expect("the schema folder can be listed").path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "api"))
        .collect();
    paths.sort();
    let files: Vec<schema::File> = paths
        .iter()
        .map(|path| {
            let text = fs::read_to_string(path).expect("a schema file is readable UTF-8");
            schema::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        })
        .collect();
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR for build scripts");
    fs::write(Path::new(&out).join("messages.rs"), emit::messages(&files)).expect("OUT_DIR is writable");
    fs::write(Path::new(&out).join("api_key.rs"), emit::api_key(&files)).expect("OUT_DIR is writable");
}
