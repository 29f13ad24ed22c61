//! Which crate may use what: the compiler guards the rooms, this guards the doors.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// A crate and what must not be below it, as `ARCHITECTURE.md` says.
struct Wall {
    package: &'static str,
    banned: &'static [&'static str],
}

const WALLS: &[Wall] = &[
    Wall {
        package: "usher-lifecycle",
        banned: &[
            "tokio",
            "k8s-openapi",
            "libc",
            "rustix",
            "rand",
            "getrandom",
            "chrono",
            "jiff",
            "usher-api",
            "usher-shim",
            "usher-runtime",
        ],
    },
    Wall {
        package: "usher-chronicle",
        banned: &[
            "tokio",
            "k8s-openapi",
            "libc",
            "rustix",
            "rand",
            "getrandom",
            "chrono",
            "jiff",
            "usher-api",
            "usher-shim",
            "usher-runtime",
            "usher-node",
        ],
    },
    Wall { package: "usher-api", banned: &["tokio", "hyper", "rustix", "usher-lifecycle", "usher-shim", "usher-runtime", "usher-node"] },
    Wall { package: "usher-shim", banned: &["tokio", "rayon", "usher-lifecycle", "usher-api", "usher-runtime", "usher-node"] },
    Wall { package: "usher-runtime", banned: &["k8s-openapi", "usher-lifecycle", "usher-api", "usher-node"] },
    Wall { package: "usher-server", banned: &["clap", "usher-lifecycle", "usher-node", "usher-runtime", "usher-shim"] },
    Wall { package: "usher-node", banned: &["clap", "usher-server"] },
];

pub(crate) fn check(root: &Path) -> Result<()> {
    for wall in WALLS {
        let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .current_dir(root)
            .args(["tree", "--package", wall.package, "--edges", "normal", "--prefix", "none", "--format", "{p}"])
            .output()
            .with_context(|| format!("cannot list what {} uses", wall.package))?;
        ensure!(output.status.success(), "cargo tree failed for {}: {}", wall.package, String::from_utf8_lossy(&output.stderr));
        let tree = String::from_utf8_lossy(&output.stdout);
        let used = tree.lines().filter_map(|line| line.split(' ').next());
        let broken: Vec<_> = used.filter(|name| *name != wall.package && wall.banned.contains(name)).collect();
        ensure!(broken.is_empty(), "{} may not use {}; see ARCHITECTURE.md", wall.package, broken.join(", "));
    }
    let lifecycle = root.join("crates/lifecycle/src/lib.rs");
    let text = std::fs::read_to_string(&lifecycle).with_context(|| format!("cannot read {}", lifecycle.display()))?;
    ensure!(text.contains("#![no_std]"), "lifecycle must stay no_std");
    ensure!(!text.contains("extern crate std"), "lifecycle must not take std in");
    Ok(())
}
