//! The files that `trochee enable` writes: both or none of them.

use std::fmt::Write as _;
use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Whether a file is one that may be replaced or removed: not what somebody has put there under its name.
fn is_ours(text: &[u8]) -> bool {
    String::from_utf8_lossy(text).contains("trochee/takeover.lua")
}

/// Writes each text into its file, and says so. Where one of them cannot be written, none is.
pub fn write(files: &[(PathBuf, String)], said: &mut String) -> Result<(), String> {
    let mut staged = Vec::new();
    for (file, text) in files {
        match fs::read(file) {
            Ok(existing) if existing == text.as_bytes() => {
                // Whoever could not read it before can now.
                fs::set_permissions(file, Permissions::from_mode(0o644)).map_err(problem(file))?;
                // Writing to a String does not fail, here and below.
                let _ = writeln!(said, "{} is there already.", file.display());
            }
            Ok(existing) if !is_ours(&existing) => {
                let name = file.display();
                return Err(format!("{name} was not written by trochee; rename it"));
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(problem(file)(error));
            }
            _ => staged.push(Staged::new(file, text).map_err(problem(file))?),
        }
    }
    for file in staged {
        fs::rename(&file.aside, file.place).map_err(problem(file.place))?;
        let _ = writeln!(said, "{} was written.", file.place.display());
    }
    Ok(())
}

fn problem(file: &Path) -> impl Fn(io::Error) -> String {
    move |error| format!("{} cannot be written: {error}", file.display())
}

/// A file that is complete beside its place. Whoever reads that meanwhile, or after a power failure, finds all of it or nothing.
struct Staged<'a> {
    place: &'a Path,
    aside: PathBuf,
}

impl<'a> Staged<'a> {
    /// The service's user has to be able to read it, whatever the umask of whoever calls is: Prosody does not start with a
    /// configuration that includes a file which it cannot read.
    fn new(place: &'a Path, text: &str) -> io::Result<Staged<'a>> {
        let folder = place.parent().unwrap_or(Path::new("/"));
        if !folder.exists() {
            fs::create_dir_all(folder)?;
            fs::set_permissions(folder, Permissions::from_mode(0o755))?;
        }
        // Neither Prosody nor systemd takes a file whose name begins with a dot.
        let name = place.file_name().unwrap_or_default().to_string_lossy();
        let staged = Staged {
            place,
            aside: folder.join(format!(".{name}.new")),
        };
        let mut opened = File::create(&staged.aside)?;
        opened.set_permissions(Permissions::from_mode(0o644))?;
        opened.write_all(text.as_bytes())?;
        opened.sync_all()?;
        Ok(staged)
    }
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        // There is none where it was put into its place.
        let _ = fs::remove_file(&self.aside);
    }
}

/// Removes a file, and says so. Whether it was there.
pub fn remove(file: &Path, said: &mut String) -> Result<bool, String> {
    let name = file.display();
    let removed = match fs::read(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Ok(existing) if !is_ours(&existing) => {
            return Err(format!(
                "{name} was not written by trochee; remove it by hand if it is not needed"
            ));
        }
        Ok(_) => fs::remove_file(file),
        Err(error) => Err(error),
    };
    removed.map_err(|error| format!("{name} cannot be removed: {error}"))?;
    let _ = writeln!(said, "{name} was removed.");
    Ok(true)
}
