//! TLS as Lua sees it: contexts are userdata, and what a handshake has agreed on is a table.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use mlua::{MultiValue, Result, Table, UserData, UserDataRef, Value};
use trochee::tls::{
    Context, Material, Mode, OwnCertificate, Settings, Start, Tlsa, TrustedFiles, name,
};

use crate::convert::{self, described, done, key};
use crate::core::Functions;

/// A context on the Lua side. The engine shares it with the connections that use it.
struct TlsContext(Context);

impl UserData for TlsContext {}

/// What several contexts trust.
struct Trusted(TrustedFiles);

impl UserData for Trusted {}

type Text = std::result::Result<Option<String>, String>;

/// Adds the commands and questions about TLS to the table of a core.
pub(crate) fn register(functions: &Functions<'_>) -> Result<()> {
    contexts(functions)?;
    commands(functions)?;
    questions(functions)
}

fn contexts(functions: &Functions<'_>) -> Result<()> {
    // trusted_files() → what contexts that are made together trust: it is looked at once
    functions.add("trusted_files", |_, _, ()| {
        Ok(Trusted(TrustedFiles::default()))
    })?;
    // tls_context(settings, trusted_files() or nil) → context, array of remarks | nil, why not, the file at fault
    type Given = (Table, Option<UserDataRef<Trusted>>);
    functions.add("tls_context", |lua, _, (given, files): Given| {
        let built = settings(&given)
            .map_err(|text| (text, None))
            .and_then(|settings| {
                match files {
                    Some(files) => Context::build_with(&settings, &files.0),
                    None => Context::build(&settings),
                }
                .map_err(|error| (error.to_string(), error.file().map(Path::to_owned)))
            });
        Ok(MultiValue::from_iter(match built {
            Ok((context, remarks)) => [
                Value::UserData(lua.create_userdata(TlsContext(context))?),
                Value::Table(lua.create_sequence_from(remarks)?),
                Value::Nil,
            ],
            Err((text, file)) => [
                Value::Nil,
                Value::String(lua.create_string(text)?),
                file.map_or(Ok(Value::Nil), |file| {
                    lua.create_string(file.as_os_str().as_bytes())
                        .map(Value::String)
                })?,
            ],
        }))
    })
}

fn commands(functions: &Functions<'_>) -> Result<()> {
    // start_tls(key, context, server name or nil, choose, TLSA records or nil) → true | nil, why not
    type StartTls = (
        Option<i64>,
        UserDataRef<TlsContext>,
        Option<String>,
        bool,
        Option<Table>,
    );
    functions.add_fallible(
        "start_tls",
        |core, (number, context, server_name, choose, records): StartTls| {
            let mut start = Start::new(context.0.clone());
            start.server_name = server_name;
            start.choose = choose;
            start.tlsa = records.map_or(Ok(Vec::new()), |records| tlsa(&records))?;
            core.command(|reactor| done(reactor.start_tls(key(number), start)))
        },
    )?;
    // accept_tls(key, context, protocols or nil): the answer to CLIENT_HELLO → true | nil, why not
    type AcceptTls = (Option<i64>, UserDataRef<TlsContext>, Option<Table>);
    functions.add_fallible(
        "accept_tls",
        |core, (number, context, protocols): AcceptTls| {
            let protocols = protocols
                .map(|list| strings("alpn", &Value::Table(list)))
                .transpose()?;
            let protocols =
                protocols.map(|list| list.into_iter().map(String::into_bytes).collect());
            core.command(|reactor| {
                done(reactor.accept_tls(key(number), context.0.clone(), protocols))
            })
        },
    )?;
    // refuse_tls(key): the other answer
    functions.add_command("refuse_tls", |reactor, key| reactor.refuse_tls(key).is_ok())
}

/// `nil` where there is no TLS, or its handshake is not complete.
fn questions(functions: &Functions<'_>) -> Result<()> {
    // ascii_name(host) → the name as the events of a ClientHello have it
    functions.add("ascii_name", |_, _, host: mlua::LuaString| {
        Ok(name::to_ascii(&host.as_bytes()))
    })?;
    // tls_names(context) → array of the DNS names in its own certificate, as ascii_name has them
    functions.add("tls_names", |lua, _, context: UserDataRef<TlsContext>| {
        let names = context.0.names();
        lua.create_sequence_from(names.iter().map(|it| name::to_ascii(it.as_bytes())))
    })?;
    // tls_info(key) → table
    functions.add("tls_info", |lua, core, number: Option<i64>| {
        let Some(info) = core.with(|reactor| reactor.tls_info(key(number))).flatten() else {
            return Ok(Value::Nil);
        };
        let table = lua.create_table()?;
        table.set("protocol", info.protocol)?;
        table.set("cipher", info.cipher)?;
        table.set("bits", info.bits)?;
        table.set("group", info.group)?;
        table.set("server_name", info.server_name)?;
        table.set(
            "alpn",
            info.alpn.map(|name| lua.create_string(name)).transpose()?,
        )?;
        table.set("resumed", info.resumed)?;
        Ok(Value::Table(table))
    })?;
    // peer_certificates(key) → array of PEM, the peer's own first
    functions.add("peer_certificates", |lua, core, number: Option<i64>| {
        let pems = core.with(|reactor| {
            reactor.tls_info(key(number))?;
            Some(
                reactor
                    .peer_certificates(key(number))
                    .iter()
                    .map(|der| pem(der.as_ref()))
                    .collect::<Vec<_>>(),
            )
        });
        pems.flatten()
            .map(|pems| lua.create_sequence_from(pems))
            .transpose()
    })?;
    // local_certificate(key) → PEM of our own certificate, without what certifies it
    functions.add("local_certificate", |_, core, number: Option<i64>| {
        let context = core.with(|reactor| {
            reactor.tls_info(key(number))?;
            reactor.tls_context(key(number))
        });
        Ok(context
            .flatten()
            .and_then(|context| context.certificates().next().map(pem)))
    })?;
    // peer_verification(key) → array by depth (from 1) of arrays of OpenSSL's texts; empty ones where nothing is wrong
    functions.add("peer_verification", |lua, core, number: Option<i64>| {
        let errors = core.with(|reactor| {
            reactor.tls_info(key(number))?;
            Some(reactor.peer_verification(key(number)).to_vec())
        });
        let Some(errors) = errors.flatten() else {
            return Ok(None);
        };
        let by_depth = lua.create_table()?;
        for errors in errors {
            let texts = errors.iter().map(ToString::to_string);
            by_depth.raw_push(lua.create_sequence_from(texts)?)?;
        }
        Ok(Some(by_depth))
    })?;
    // export_keying_material(key, label, length, context or nil) → string (RFC 5705, RFC 8446)
    type Export = (Option<i64>, mlua::LuaString, usize, Option<mlua::LuaString>);
    functions.add(
        "export_keying_material",
        |lua, core, (number, label, length, context): Export| {
            let context = context.as_ref().map(|context| context.as_bytes());
            let exported = core.with(|reactor| {
                reactor.export_keying_material(
                    key(number),
                    &label.as_bytes(),
                    context.as_deref(),
                    length,
                )
            });
            exported
                .flatten()
                .map(|material| lua.create_string(material))
                .transpose()
        },
    )
}

/// LuaSec's `certificates`: `{ certificate =, key =, password = }`, with paths, each.
fn certificates(list: &Value) -> std::result::Result<Vec<OwnCertificate>, String> {
    let Value::Table(list) = list else {
        return Ok(Vec::new());
    };
    list.sequence_values::<Table>()
        .map(|entry| {
            let entry = entry.map_err(|_| "certificates must be a list of tables".to_owned())?;
            let value = |name: &str| entry.raw_get::<Value>(name).unwrap_or(Value::Nil);
            let password = match value("password") {
                Value::Nil => None,
                Value::String(password) => Some(password.as_bytes().to_vec()),
                other => {
                    return Err(format!(
                        "password must be a string, not {}",
                        described(&other)
                    ));
                }
            };
            let certificate = path("certificate", &value("certificate"))?;
            let key = path("key", &value("key"))?;
            match (certificate, key) {
                (Some(certificate), Some(key)) => {
                    let [certificate, key] = [certificate, key].map(Material::File);
                    let mut own = OwnCertificate::new(certificate, key);
                    own.password = password;
                    Ok(Some(own))
                }
                (Some(_), None) => {
                    Err("error loading private key (no key for the certificate)".into())
                }
                (None, _) => Ok(None),
            }
        })
        .filter_map(std::result::Result::transpose)
        .collect()
}

/// Paths are bytes.
fn path(name: &str, value: &Value) -> std::result::Result<Option<PathBuf>, String> {
    match value {
        Value::String(path) => Ok(Some(PathBuf::from(OsString::from_vec(
            path.as_bytes().to_vec(),
        )))),
        other => string(name, other).map(|_| None),
    }
}

/// A table with LuaSec's names, in which lists are lists and functions have been called.
fn settings(given: &Table) -> std::result::Result<Settings, String> {
    let value = |name: &str| {
        given
            .raw_get::<Value>(name)
            .map_err(|error| error.to_string())
    };
    let text = |name: &str| -> Text { string(name, &value(name)?) };
    let list =
        |name: &str| -> std::result::Result<Vec<String>, String> { strings(name, &value(name)?) };
    let mode = match text("mode")?.as_deref() {
        Some("server") => Mode::Server,
        Some("client") => Mode::Client,
        Some(other) => return Err(format!("invalid mode ({other})")),
        None => return Err("invalid mode (nil)".into()),
    };
    let depth = match value("depth")? {
        Value::Nil => None,
        depth => Some(
            convert::integer(&depth)
                .and_then(|depth| u32::try_from(depth).ok())
                .ok_or_else(|| {
                    format!("depth must be a whole number, not {}", described(&depth))
                })?,
        ),
    };
    let mut verify = list("verify")?;
    if verify.is_empty() {
        // LuaSec's default, where ours is to verify
        verify.push("none".to_owned());
    }
    let mut settings = Settings::default();
    settings.mode = mode;
    settings.certificates = certificates(&value("certificates")?)?;
    settings.cafile = path("cafile", &value("cafile")?)?;
    settings.capath = path("capath", &value("capath")?)?;
    settings.protocol = text("protocol")?;
    settings.ciphers = text("ciphers")?;
    settings.ciphersuites = text("ciphersuites")?;
    settings.curveslist = text("curveslist")?;
    settings.options = list("options")?;
    settings.verify = verify;
    // Prosody knows which of a certificate's names it wants to see (XMPP addresses, SRV names), and says whom it trusts
    settings.verify_name = false;
    settings.system_trust = false;
    settings.verifyext = list("verifyext")?;
    settings.depth = depth;
    settings.alpn = protocols(list("alpn")?)?;
    settings.dhparam = value("dhparam")?.as_boolean().unwrap_or(false);
    Ok(settings)
}

/// With LuaSec's words for what does not fit into a ClientHello.
fn protocols(names: Vec<String>) -> std::result::Result<Vec<String>, String> {
    match names
        .iter()
        .find(|name| name.is_empty() || name.len() > 255)
    {
        None => Ok(names),
        Some(name) if name.is_empty() => Err("invalid ALPN name (empty string)".into()),
        Some(_) => Err("invalid ALPN name (length > 255)".into()),
    }
}

fn string(name: &str, value: &Value) -> Text {
    match value {
        Value::Nil | Value::Boolean(false) => Ok(None),
        Value::String(text) => Ok(Some(text.to_string_lossy())),
        other => Err(format!("{name} must be a string, not {}", described(other))),
    }
}

fn strings(name: &str, value: &Value) -> std::result::Result<Vec<String>, String> {
    let Value::Table(list) = value else {
        return Ok(string(name, value)?.into_iter().collect());
    };
    list.sequence_values::<Value>()
        .map(|item| match item {
            Ok(Value::String(text)) => Ok(text.to_string_lossy()),
            Ok(other) => Err(format!(
                "{name} must be a list of strings, and contains {}",
                described(&other)
            )),
            Err(error) => Err(error.to_string()),
        })
        .collect()
}

/// Records as net.dns parses them: `{ use, select, match, data }`.
fn tlsa(records: &Table) -> std::result::Result<Vec<Tlsa>, String> {
    let number = |record: &Table, name: &str| {
        let value = record.raw_get::<Value>(name).unwrap_or(Value::Nil);
        convert::integer(&value)
            .and_then(|number| u8::try_from(number).ok())
            .ok_or_else(|| {
                format!(
                    "{name} of a TLSA record must be a number from 0 to 255, not {}",
                    described(&value)
                )
            })
    };
    records
        .sequence_values::<Table>()
        .map(|record| {
            let record = record.map_err(|_| "TLSA records must be tables".to_owned())?;
            Ok(Tlsa {
                usage: number(&record, "use")?,
                selector: number(&record, "select")?,
                matching: number(&record, "match")?,
                data: match record.raw_get::<Value>("data") {
                    Ok(Value::String(data)) => data.as_bytes().to_vec(),
                    _ => return Err("data of a TLSA record must be a string".into()),
                },
            })
        })
        .collect()
}

/// RFC 7468, as OpenSSL writes it.
fn pem(der: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const BYTES_PER_LINE: usize = 48;
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in der.chunks(BYTES_PER_LINE) {
        for group in line.chunks(3) {
            let bits = group
                .iter()
                .fold(0, |bits, byte| bits << 8 | u32::from(*byte))
                << (8 * (3 - group.len()));
            for place in 0..4 {
                let digit = (bits >> (18 - 6 * place)) as usize & 63;
                text.push(if place > group.len() {
                    '='
                } else {
                    ALPHABET[digit].into()
                });
            }
        }
        text.push('\n');
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}
