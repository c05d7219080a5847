//! A real PostgreSQL for tests: Debian's own, fetched by the builder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use builder::build::source::Reach;
use builder::progress::Progress;
use builder::project;
use builder::tools::POSTGRES;

const BIN: &str = "usr/lib/postgresql/17/bin";

/// PostgreSQL's programs where they find their own files: each behind a script of its name, which
/// starts it with the loader and libraries that belong to it.
pub fn programs(folder: &Path) -> PathBuf {
    let cache = project::cache_folder(None).expect("a cache folder");
    let tools = POSTGRES.obtain(&cache, &Reach::default(), &Progress::new(false));
    let tools = tools.unwrap_or_else(|error| panic!("{error}"));
    // The cache may be in a folder that another user can't enter.
    let root = folder.join("postgres");
    let copied = |how: &str| {
        let mut copy = Command::new("cp");
        copy.arg(how).arg(tools.file("")).arg(&root).stderr(Stdio::null());
        copy.status().expect("cp starts").success()
    };
    if !copied("-al") {
        let _partly = fs::remove_dir_all(&root);
        assert!(copied("-a"), "PostgreSQL can't be copied to {}", root.display());
    }
    let bin = root.join(BIN);
    let real = root.join("usr/lib/postgresql/17/real");
    fs::rename(&bin, &real).expect("moved");
    fs::create_dir(&bin).expect("a folder");
    for program in fs::read_dir(&real).expect("programs").flatten() {
        let path = bin.join(program.file_name());
        let script = format!(
            "#!/bin/sh\nexec {root}/usr/lib64/ld-linux-x86-64.so.2 --library-path \
             {root}/usr/lib/x86_64-linux-gnu --argv0 \"$0\" {real} \"$@\"\n",
            root = root.display(),
            real = program.path().display(),
        );
        fs::write(&path, script).expect("written");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&path, mode).expect("executable");
    }
    bin
}
