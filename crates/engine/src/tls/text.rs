//! OpenSSL's words for what goes wrong in TLS: Prosody, its modules and its operators know them.

use rustls::{AlertDescription, Error, InvalidMessage, PeerIncompatible, ProtocolVersion};

/// The same where the peer's first bytes are known: somebody may have come to the wrong port, or with a version of long ago.
pub(super) fn of_first(error: &Error, bytes: &[u8]) -> String {
    /// Where a ClientHello has its version, behind the headers of the record and of the message.
    const VERSION: std::ops::Range<usize> = 9..11;
    let begins = |word: &&str| bytes.starts_with(word.as_bytes());
    let is_old = bytes
        .get(VERSION)
        .is_some_and(|version| version < &[3, 3][..]);
    match of(error) {
        // Only since TLS 1.2 is there such an extension.
        _ if is_old && *error == SIGNATURES => "unsupported protocol".into(),
        text if text != "wrong version number" => text,
        _ if ["GET ", "POST", "HEAD", "PUT "].iter().any(begins) => "http request".into(),
        _ if begins(&"CONNE") => "https proxy request".into(),
        text => text,
    }
}

const SIGNATURES: Error =
    Error::PeerIncompatible(PeerIncompatible::SignatureAlgorithmsExtensionRequired);

/// The same where a version may have been agreed on. In TLS 1.2 a group is part of the cipher suite.
pub(super) fn of_agreed(error: &Error, version: Option<ProtocolVersion>) -> String {
    match error {
        Error::PeerIncompatible(PeerIncompatible::NoKxGroupsInCommon)
            if version == Some(ProtocolVersion::TLSv1_2) =>
        {
            "no shared cipher".into()
        }
        _ => of(error),
    }
}

/// The reason for the end of a connection.
pub(super) fn of(error: &Error) -> String {
    match error {
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType
            | InvalidMessage::UnknownProtocolVersion
            | InvalidMessage::MessageTooLarge
            | InvalidMessage::InvalidEmptyPayload,
        ) => "wrong version number".into(),
        Error::InvalidMessage(_) => "bad message".into(),
        Error::AlertReceived(alert) => alert_text(*alert),
        Error::InvalidCertificate(_) => "certificate verify failed".into(),
        Error::NoCertificatesPresented => "peer did not return a certificate".into(),
        Error::DecryptError => "decryption failed or bad record mac".into(),
        Error::PeerSentOversizedRecord => "packet length too long".into(),
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            "unexpected message".into()
        }
        Error::NoApplicationProtocol => "no application protocol".into(),
        Error::PeerIncompatible(why) => match why {
            PeerIncompatible::NoCipherSuitesInCommon
            | PeerIncompatible::NoSignatureSchemesInCommon
            | PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon => {
                "no shared cipher".into()
            }
            PeerIncompatible::NoKxGroupsInCommon => "no suitable key share".into(),
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled => "unsupported protocol".into(),
            other => format!("peer is incompatible: {other:?}"),
        },
        // What rustls says when the resolver has no certificate, as OpenSSL's server without one.
        Error::General(text) if text.contains("no server certificate chain resolved") => {
            "no shared cipher".into()
        }
        other => other.to_string(),
    }
}

/// OpenSSL names an alert after the protocol version that introduced it.
fn alert_text(alert: AlertDescription) -> String {
    let text = match alert {
        AlertDescription::UnexpectedMessage => "sslv3 alert unexpected message",
        AlertDescription::BadRecordMac => "sslv3 alert bad record mac",
        AlertDescription::HandshakeFailure => "sslv3 alert handshake failure",
        AlertDescription::NoCertificate => "sslv3 alert no certificate",
        AlertDescription::BadCertificate => "sslv3 alert bad certificate",
        AlertDescription::UnsupportedCertificate => "sslv3 alert unsupported certificate",
        AlertDescription::CertificateRevoked => "sslv3 alert certificate revoked",
        AlertDescription::CertificateExpired => "sslv3 alert certificate expired",
        AlertDescription::CertificateUnknown => "sslv3 alert certificate unknown",
        AlertDescription::IllegalParameter => "sslv3 alert illegal parameter",
        AlertDescription::RecordOverflow => "tlsv1 alert record overflow",
        AlertDescription::UnknownCA => "tlsv1 alert unknown ca",
        AlertDescription::AccessDenied => "tlsv1 alert access denied",
        AlertDescription::DecodeError => "tlsv1 alert decode error",
        AlertDescription::DecryptError => "tlsv1 alert decrypt error",
        AlertDescription::ProtocolVersion => "tlsv1 alert protocol version",
        AlertDescription::InsufficientSecurity => "tlsv1 alert insufficient security",
        AlertDescription::InternalError => "tlsv1 alert internal error",
        AlertDescription::InappropriateFallback => "tlsv1 alert inappropriate fallback",
        AlertDescription::UserCanceled => "tlsv1 alert user cancelled",
        AlertDescription::NoRenegotiation => "tlsv1 alert no renegotiation",
        AlertDescription::MissingExtension => "tlsv13 alert missing extension",
        AlertDescription::UnsupportedExtension => "tlsv1 unsupported extension",
        AlertDescription::UnrecognisedName => "tlsv1 unrecognized name",
        AlertDescription::BadCertificateStatusResponse => "tlsv1 bad certificate status response",
        AlertDescription::UnknownPSKIdentity => "tlsv1 unknown psk identity",
        AlertDescription::CertificateRequired => "tlsv13 alert certificate required",
        AlertDescription::NoApplicationProtocol => "tlsv1 alert no application protocol",
        other => return format!("tls alert {}", u8::from(other)),
    };
    text.into()
}
