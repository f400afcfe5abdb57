//! `trochee manual`: man pages and completions for a package, made from the definitions that the program itself reads.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::Arguments;

/// Where to.
#[derive(Args)]
pub struct Options {
    /// The folder, such as dist/share
    folder: PathBuf,
}

/// Writes man/man1 and the completions of bash, zsh and fish, where each of these looks for them.
pub fn write(options: &Options) -> Result<String, String> {
    let folder = &options.folder;
    write_into(folder)
        .map(|()| {
            format!(
                "the man pages and completions are in {}\n",
                folder.display()
            )
        })
        .map_err(|error| format!("{} cannot be written: {error}", folder.display()))
}

fn write_into(share: &Path) -> io::Result<()> {
    // Without this command, which no installation has.
    let command = || {
        let all = Arguments::command();
        let subcommands: Vec<_> = all
            .get_subcommands()
            .filter(|subcommand| subcommand.get_name() != "manual")
            .cloned()
            .collect();
        let version = env!("CARGO_PKG_VERSION");
        clap::Command::new("trochee")
            .about(all.get_about().cloned().unwrap_or_default())
            .version(version)
            .disable_version_flag(true)
            .args(all.get_arguments().cloned())
            .subcommands(subcommands)
    };
    let pages = share.join("man/man1");
    fs::create_dir_all(&pages)?;
    clap_mangen::generate_to(command(), &pages)?;
    for (shell, folder) in [
        (Shell::Bash, "bash-completion/completions"),
        (Shell::Zsh, "zsh/vendor-completions"),
        (Shell::Fish, "fish/vendor_completions.d"),
    ] {
        let folder = share.join(folder);
        fs::create_dir_all(&folder)?;
        let written = clap_complete::generate_to(shell, &mut command(), "trochee", &folder)?;
        // bash-completion loads the file that is named as the command.
        if shell == Shell::Bash {
            fs::rename(&written, folder.join("trochee"))?;
        }
    }
    Ok(())
}
