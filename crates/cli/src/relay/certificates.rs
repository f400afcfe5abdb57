//! From files to TLS contexts, at the start and at each reload.

use std::collections::BTreeMap;

use trochee::tls::{Context, Material, OwnCertificate, Settings};

use super::log::Log;
use super::options::{Files, Relay};

/// The context for everybody, and those for names.
pub type Loaded = (Context, Vec<(String, Context)>);

/// Reads the certificates of a relay; `None` where it does without TLS.
///
/// # Errors
///
/// The option and the file that is wrong, and why.
pub fn load(relay: &Relay, log: &Log) -> Result<Option<Loaded>, String> {
    let Some((first, others)) = relay.tls.split_first() else {
        return if !relay.sni.is_empty() {
            Err("sni needs tls: the certificate for clients that ask for no name".into())
        } else if !relay.alpn.is_empty() {
            Err("alpn needs tls".into())
        } else {
            Ok(None)
        };
    };
    let own = |files: &Files| {
        OwnCertificate::new(
            Material::File(files.certificate.clone()),
            Material::File(files.key.clone()),
        )
    };
    let build = |option: &str, group: &[&Files]| {
        let mut settings = Settings::default();
        settings.certificates = group.iter().copied().map(own).collect();
        settings.alpn = relay.alpn.clone();
        settings.alpn_strict = relay.alpn_strict;
        let (context, remarks) = Context::build(&settings).map_err(|error| {
            let files: Vec<String> = group.iter().map(ToString::to_string).collect();
            format!("{option} {}: {error}", files.join(" "))
        })?;
        for remark in remarks {
            log.say(&remark);
        }
        Ok::<_, String>(context)
    };
    let first_names = build("tls", &[first])?.names();
    // Several certificates for one name, such as one for RSA and one for ECDSA, are one context
    let mut by_name: BTreeMap<String, Vec<&Files>> = BTreeMap::new();
    let mut default = vec![first];
    for files in others {
        let names = build("tls", &[files])?.names();
        if names.is_empty() {
            return Err(format!(
                "tls {}: no DNS name in it says which clients it is for; sni does",
                files.certificate.display()
            ));
        }
        if !first_names.is_empty() && first_names.iter().all(|name| names.contains(name)) {
            default.push(files);
        }
        for name in names {
            let group = by_name.entry(name.to_ascii_lowercase()).or_default();
            if group.is_empty() && first_names.contains(&name) {
                group.push(first);
            }
            group.push(files);
        }
    }
    let mut by_sni: BTreeMap<String, Vec<&Files>> = BTreeMap::new();
    for named in &relay.sni {
        let group = by_sni.entry(named.host.to_ascii_lowercase()).or_default();
        group.push(&named.files);
    }
    // What is said by name goes before what certificates say
    by_name.retain(|name, _| !by_sni.contains_key(name));
    let mut names = Vec::new();
    let mut built: Vec<(Vec<&Files>, Context)> = Vec::new();
    for (option, groups) in [("tls", by_name), ("sni", by_sni)] {
        for (name, group) in groups {
            let known = built.iter().find(|(other, _)| *other == group);
            let context = match known {
                Some((_, context)) => context.clone(),
                None if option == "sni" => build(&format!("sni {name}:"), &group)?,
                None => build(option, &group)?,
            };
            built.push((group, context.clone()));
            names.push((name, context));
        }
    }
    Ok(Some((build("tls", &default)?, names)))
}
