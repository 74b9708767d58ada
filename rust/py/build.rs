//! Builds the native program of `rust/init` and puts it into the Python package, from where the wheel takes it.
//!
//! It is built apart from the extension module because it wants to be small in memory, many thousand times over:
//! statically linked, at a fixed address, without unwinding. Profiles and flags cannot differ so within one build.

// What a build script tells cargo, it prints.
#![allow(clippy::print_stdout)]

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Error, Result};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

const PROGRAM: &str = "macvfast-init";

/// Settings of the build around this one that must not reach the inner one.
const NOT_INHERITED: [&str; 7] = [
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_TARGET_DIR",
    // clippy's, which checks instead of building
    "RUSTC_WORKSPACE_WRAPPER",
    "__CARGO_DEFAULT_LIB_METADATA",
];

const PROFILE: [(&str, &str); 5] = [
    ("CARGO_PROFILE_RELEASE_PANIC", "abort"),
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "s"),
    ("CARGO_PROFILE_RELEASE_LTO", "fat"),
    ("CARGO_PROFILE_RELEASE_STRIP", "symbols"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "false"),
];

fn main() -> Result<()> {
    let root = fs::canonicalize(variable("CARGO_MANIFEST_DIR")?.join("../.."))?;
    let package = root.join("python/macvfast");
    let sources = [
        root.join("rust/init"),
        root.join("Cargo.lock"),
        root.join("Cargo.toml"),
    ];
    let shipped = package.join(PROGRAM);
    for path in sources.iter().chain([&shipped]) {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    let built = build(&root)?;
    ship(&built, &shipped, newest(&sources)?)
}

fn variable(name: &str) -> Result<PathBuf> {
    env::var_os(name)
        .map(PathBuf::from)
        .ok_or_else(|| Error::other(format!("cargo did not set {name}")))
}

/// Builds the program, and says where it is.
fn build(root: &Path) -> Result<PathBuf> {
    let target = env::var("TARGET").map_err(Error::other)?;
    let target_dir = variable("OUT_DIR")?.join("init");
    let built = target_dir.join(&target).join("release").join(PROGRAM);
    let position = "-C relocation-model=static";
    if run_cargo(
        root,
        &target,
        &target_dir,
        &format!("-C target-feature=+crt-static {position}"),
    )? {
        return Ok(built);
    }
    println!("cargo::warning={PROGRAM} is linked dynamically, and larger in memory: a static C library is missing");
    if run_cargo(root, &target, &target_dir, "")? {
        return Ok(built);
    }
    Err(Error::other(format!("{PROGRAM} cannot be built")))
}

fn run_cargo(root: &Path, target: &str, target_dir: &Path, flags: &str) -> Result<bool> {
    let mut command = Command::new(variable("CARGO")?);
    // What the outer build was given for its own profiles would be mixed with ours.
    let profiles = env::vars_os().filter_map(|(name, _)| is_profile(&name).then_some(name));
    for name in profiles.chain(NOT_INHERITED.map(OsString::from)) {
        command.env_remove(name);
    }
    let status = command
        .args([
            "build",
            "--quiet",
            "--locked",
            "--release",
            "--package",
            PROGRAM,
        ])
        .args(["--target", target, "--target-dir"])
        .arg(target_dir)
        .current_dir(root)
        .envs(PROFILE)
        .env("RUSTFLAGS", flags)
        .status()?;
    Ok(status.success())
}

fn is_profile(name: &OsString) -> bool {
    name.as_encoded_bytes().starts_with(b"CARGO_PROFILE_")
}

/// The newest time of change among those files and folders.
fn newest(paths: &[PathBuf]) -> Result<SystemTime> {
    let mut newest = SystemTime::UNIX_EPOCH;
    for path in paths {
        let metadata = fs::metadata(path)?;
        newest = newest.max(metadata.modified()?);
        if metadata.is_dir() {
            let entries: Result<Vec<_>> =
                fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect();
            newest = newest.max(self::newest(&entries?)?);
        }
    }
    Ok(newest)
}

/// Puts the program where the package has it, unless it is there already.
///
/// It gets the age of its sources: cargo would take anything newer for a change, and build once more.
fn ship(built: &Path, shipped: &Path, age: SystemTime) -> Result<()> {
    let unchanged = fs::read(shipped).is_ok_and(|old| fs::read(built).is_ok_and(|new| old == new));
    if !unchanged {
        // Under another name first: what runs at this moment cannot be written to, only replaced.
        let new = shipped.with_extension("new");
        fs::copy(built, &new)?;
        fs::rename(&new, shipped)?;
    }
    File::open(shipped)?.set_modified(age)
}
