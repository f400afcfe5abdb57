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

#[test]
fn prosodyctl_learns_of_it_where_the_configuration_includes_other_files() {
    let machine = machine("included");
    let configuration = machine.path("etc/prosody/prosody.cfg.lua");
    fs::write(&configuration, "-- Include \"conf.d/*.cfg.lua\"\n").unwrap();
    let mut said = String::new();
    write_files(&machine, Path::new("/opt/t/lua"), &mut said).unwrap();
    assert!(said.contains("`trochee prosodyctl` does"), "{said}");
    assert!(!machine.included().exists());

    fs::write(&configuration, "Include \"conf.d/*.cfg.lua\"\n").unwrap();
    write_files(&machine, Path::new("/opt/t/lua"), &mut said).unwrap();
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

#[test]
fn a_folder_that_a_unit_file_cannot_name_is_refused() {
    let machine = machine("folder");
    let refused = write_files(&machine, Path::new("/opt/50%/lua"), &mut String::new());
    assert!(refused.unwrap_err().contains("install trochee elsewhere"));
    assert!(!machine.drop_in().exists());
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
    let mut found = configurations_with_trochee(&machine);
    found.sort();
    assert_eq!(
        found,
        [folder.join("a.cfg.lua"), folder.join("conf.d/c.cfg.lua")]
    );
}
