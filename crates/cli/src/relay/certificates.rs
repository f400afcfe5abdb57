//! From files to TLS contexts, at the start and at each reload.

use trochee::tls::{Context, Settings};
use x509_parser::prelude::*;

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
    let build = |option: &str, files: &Files| {
        let settings = Settings {
            certificate: Some(files.certificate.clone()),
            key: Some(files.key.clone()),
            alpn: relay.alpn.clone(),
            alpn_strict: relay.alpn_strict,
            ..Settings::default()
        };
        let (context, remarks) = Context::build(&settings).map_err(|error| {
            let (certificate, key) = (files.certificate.display(), files.key.display());
            format!("{option} {certificate},{key}: {error}")
        })?;
        for remark in remarks {
            log.say(&remark);
        }
        Ok::<_, String>(context)
    };
    let default = build("tls", first)?;
    let mut names = Vec::new();
    for files in others {
        let context = build("tls", files)?;
        let own = dns_names(&context);
        if own.is_empty() {
            return Err(format!(
                "tls {}: no DNS name in it says which clients it is for; sni does",
                files.certificate.display()
            ));
        }
        names.extend(own.into_iter().map(|name| (name, context.clone())));
    }
    for named in &relay.sni {
        let option = format!("sni {}:", named.host);
        names.push((named.host.clone(), build(&option, &named.files)?));
    }
    Ok(Some((default, names)))
}

/// The names in a certificate (subjectAltName, RFC 5280).
fn dns_names(context: &Context) -> Vec<String> {
    let Some(leaf) = context.certificates().next() else {
        return Vec::new();
    };
    let Ok((_, certificate)) = X509Certificate::from_der(leaf) else {
        return Vec::new();
    };
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let names = names.value.general_names.iter();
    names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        })
        .collect()
}
