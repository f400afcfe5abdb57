use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

/// A machine in a folder of its own.
struct Folder(Machine);

impl std::ops::Deref for Folder {
    type Target = Machine;

    fn deref(&self) -> &Machine {
        &self.0
    }
}

fn machine(name: &str) -> Folder {
    let root = std::env::temp_dir().join(format!("trochee-service-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&root);
    fs::create_dir_all(root.join("etc/prosody/conf.d")).unwrap();
    Folder(Machine::below(root))
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.path(""));
    }
}

#[test]
fn the_drop_in_names_the_installation_and_goes_again() {
    let machine = machine("drop-in");
    let mut said = String::new();
    write_files(&machine, Path::new("/opt/t/lua"), &mut said).unwrap();
    let text = fs::read_to_string(machine.drop_in()).unwrap();
    assert!(
        text.contains("loadfile('/opt/t/lua/trochee/takeover.lua')"),
        "{text}"
    );
    assert!(!text.contains("/usr/local"), "{text}");
    assert!(said.contains("was written"), "{said}");

    said.clear();
    write_files(&machine, Path::new("/opt/t/lua"), &mut said).unwrap();
    assert!(said.contains("is there already"), "{said}");

    said.clear();
    assert!(remove_files(&machine, &mut said).unwrap());
    assert!(!machine.drop_in().parent().unwrap().exists());
    assert!(!remove_files(&machine, &mut said).unwrap());
    assert!(said.contains("There is no "), "{said}");
}

#[test]
fn what_others_have_written_stays() {
    let machine = machine("others");
    let file = machine.drop_in();
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, "[Service]\nNice=5\n").unwrap();
    let mut said = String::new();
    let refused = write_files(&machine, Path::new("/opt/t/lua"), &mut said).unwrap_err();
    assert!(
        refused.contains("was not written by trochee; rename it"),
        "{refused}"
    );
    let refused = remove_files(&machine, &mut said).unwrap_err();
    assert!(refused.contains("was not written by trochee"), "{refused}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "[Service]\nNice=5\n");
}

/// A drop-in without the other file would let the service run on trochee although the command has failed.
#[test]
fn both_files_are_written_or_none() {
    let machine = machine("both");
    include(&machine, "conf.d/*.cfg.lua");
    for obstacle in ["not ours", "a folder"] {
        match obstacle {
            "not ours" => fs::write(machine.included(), "-- mine\n").unwrap(),
            _ => {
                fs::remove_file(machine.included()).unwrap();
                fs::create_dir(machine.included()).unwrap();
            }
        }
        let mut said = String::new();
        let refused = write_files(&machine, Path::new("/opt/t/lua"), &mut said).unwrap_err();
        assert!(refused.starts_with("nothing was changed: "), "{refused}");
        assert!(refused.contains("conf.d/trochee.cfg.lua"), "{refused}");
        assert!(!machine.drop_in().exists(), "{obstacle}");
        let folder = machine.drop_in().parent().unwrap().to_owned();
        assert!(fs::read_dir(folder).is_ok_and(|mut left| left.next().is_none()));
    }
}

#[test]
fn a_file_that_cannot_be_removed_does_not_keep_the_other() {
    let machine = machine("one");
    include(&machine, "conf.d/*.cfg.lua");
    let mut said = String::new();
    write_files(&machine, Path::new("/opt/t/lua"), &mut said).unwrap();
    for ((own, other), text) in [
        ((machine.drop_in(), machine.included()), "-- mine\n"),
        ((machine.included(), machine.drop_in()), "[Service]\n"),
    ] {
        write_files(&machine, Path::new("/opt/t/lua"), &mut said).unwrap();
        fs::write(&other, text).unwrap();
        said.clear();
        let refused = remove_files(&machine, &mut said).unwrap_err();
        assert!(refused.contains(&*other.to_string_lossy()), "{refused}");
        assert!(said.contains(&*own.to_string_lossy()), "{said}");
        assert!(!own.exists() && other.exists());
        fs::remove_file(&other).unwrap();
    }
}

/// Prosody does not start with a configuration that includes a file which its user cannot read.
#[test]
fn the_files_can_be_read_by_everybody() {
    let machine = machine("mode");
    include(&machine, "conf.d/*.cfg.lua");
    let mut said = String::new();
    let root = Path::new("/opt/t/lua");
    for left_by_somebody in [false, true] {
        if left_by_somebody {
            fs::set_permissions(machine.included(), fs::Permissions::from_mode(0o600)).unwrap();
        }
        write_files(&machine, root, &mut said).unwrap();
        for file in [machine.drop_in(), machine.included()] {
            let mode = fs::metadata(&file).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o644, "{}", file.display());
        }
    }
}

/// With "Include" lines of `pattern` alone.
fn include(machine: &Machine, pattern: &str) {
    let text = format!("-- Include \"conf.d/*.cfg.lua\"\nInclude \"{pattern}\"\n");
    fs::write(machine.path("etc/prosody/prosody.cfg.lua"), text).unwrap();
}

#[test]
fn prosodyctl_learns_of_it_where_the_configuration_includes_other_files() {
    let machine = machine("included");
    let mut said = String::new();
    for elsewhere in ["conf.d/*.conf", "hosts/*.cfg.lua", "conf.d/one.cfg.lua"] {
        include(&machine, elsewhere);
        let reach = write_files(&machine, Path::new("/opt/t/lua"), &mut said).unwrap();
        assert_eq!(reach, Reach::Service, "{elsewhere}");
        assert!(said.contains("`trochee prosodyctl` does"), "{said}");
        assert!(!machine.included().exists());
    }
    // By way of other files, which may name each other in a circle.
    let parts = machine.path("etc/prosody/parts");
    fs::create_dir(&parts).unwrap();
    fs::write(
        parts.join("a.lua"),
        "Include(\"../prosody.cfg.lua\")\nInclude \"/etc/prosody/parts/b.lua\"\n",
    )
    .unwrap();
    fs::write(parts.join("b.lua"), "Include '../conf.d/*'\n").unwrap();
    for here in [
        "conf.d/*.cfg.lua",
        "/etc/prosody/conf.d/*.lua",
        "conf.d/*",
        "parts/?.lua",
    ] {
        include(&machine, here);
        let reach = write_files(&machine, Path::new("/opt/t/lua"), &mut said).unwrap();
        assert_eq!(reach, Reach::Configuration(machine.included()), "{here}");
        let text = fs::read_to_string(machine.included()).unwrap();
        assert!(
            text.contains("loadfile(\"/opt/t/lua/trochee/takeover.lua\")"),
            "{text}"
        );
        let configurations = fs::read_dir(machine.path("etc/prosody/conf.d")).unwrap();
        assert_eq!(configurations.count(), 1);
        assert!(remove_files(&machine, &mut said).unwrap());
        assert!(!machine.included().exists());
    }
}

#[test]
fn without_systemd_the_configuration_counts() {
    let root = Path::new("/opt/t/lua");
    let said = without_systemd(
        &Reach::Configuration("/etc/prosody/conf.d/trochee.cfg.lua".into()),
        root,
    );
    assert!(said.contains("By /etc/prosody/conf.d/trochee.cfg.lua Prosody runs on trochee"));
    let said = without_systemd(&Reach::Service, root);
    assert!(said.contains("RunScript \"/opt/t/lua/trochee/takeover.lua\""));
}

#[test]
fn a_folder_that_a_unit_file_cannot_name_is_refused() {
    let machine = machine("folder");
    for root in [
        "/opt/50%/lua",
        "/opt/a;b/lua",
        "/opt/why?/lua",
        "/opt/it's/lua",
    ] {
        let refused = write_files(&machine, Path::new(root), &mut String::new()).unwrap_err();
        assert!(refused.contains("install trochee elsewhere"), "{root}");
        assert!(!machine.drop_in().exists());
    }
    let named = Path::new("/opt/my programs/lua");
    write_files(&machine, named, &mut String::new()).unwrap();
    let text = fs::read_to_string(machine.drop_in()).unwrap();
    assert!(
        text.contains("loadfile('/opt/my programs/lua/trochee/takeover.lua')"),
        "{text}"
    );
}

#[test]
fn without_the_service_it_says_what_to_do() {
    let machine = machine("none");
    let problem = try_out(&machine, Path::new("/opt/t/lua")).unwrap_err();
    assert!(
        problem.contains("RunScript \"/opt/t/lua/trochee/takeover.lua\""),
        "{problem}"
    );
}

#[test]
fn configurations_that_name_trochee_are_found() {
    let machine = machine("configurations");
    let folder = machine.path("etc/prosody");
    for (name, text) in [
        (
            "a.cfg.lua",
            "RunScript \"/usr/lib/trochee/lua/trochee/takeover.lua\"\n",
        ),
        (
            "b.cfg.lua",
            "-- RunScript \"/usr/lib/trochee/lua/trochee/takeover.lua\"\n",
        ),
        ("conf.d/c.cfg.lua", "  network_backend = \"trochee\"\n"),
        ("conf.d/d.cfg.lua", "network_backend = \"epoll\"\n"),
    ] {
        fs::write(folder.join(name), text).unwrap();
    }
    assert_eq!(
        Configuration::of(&machine).naming_trochee(&machine),
        [folder.join("a.cfg.lua"), folder.join("conf.d/c.cfg.lua")]
    );
}
