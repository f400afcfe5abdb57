//! How far a connection has got, and whether it has said who it is.

/// Whether a connection has to say who it is before it counts as established.
///
/// The engine cannot see it: the consumer tells, with [`Reactor::set_authentication`](crate::Reactor::set_authentication).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Authentication {
    /// Nobody tells. After as many reads as a login takes, a connection is established.
    #[default]
    NotAsked,
    /// It has not authenticated yet, so the limits of newcomers hold: [`Config::newcomer_timeout`](crate::Config) and those
    /// beside it.
    Awaited,
    /// It has not made a request yet, as clients of HTTP do: to be told when one is complete. The limits of newcomers hold except
    /// [`Config::newcomer_bytes`](crate::Config), for a request may be long; and until it is complete no pause may be longer than
    /// [`Config::newcomer_data_timeout`](crate::Config).
    RequestAwaited,
    /// It is established.
    Done,
}

impl Authentication {
    /// Whether the limits of newcomers hold.
    pub(crate) fn is_newcomer(self) -> bool {
        matches!(
            self,
            Authentication::Awaited | Authentication::RequestAwaited
        )
    }
}

/// How far a connection has got. Where something has to be given up, the earlier stage goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Stage {
    /// It stands, and has neither completed a TLS handshake nor delivered anything.
    Accepted,
    /// The proxy that made it has said who the client is, and nothing else has come.
    Proxied,
    /// Its TLS handshake is complete, and it has delivered nothing.
    Secured,
    /// It has delivered something.
    Opened,
    /// It is no newcomer any more: it has authenticated, or made a request. Where nobody tells, it has delivered as many reads as a login takes.
    Established,
}

impl Stage {
    /// Every stage, the earliest first.
    pub const ALL: [Stage; 5] = [
        Stage::Accepted,
        Stage::Proxied,
        Stage::Secured,
        Stage::Opened,
        Stage::Established,
    ];

    /// The name, for logs and statistics.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Accepted => "accepted",
            Stage::Proxied => "proxied",
            Stage::Secured => "secured",
            Stage::Opened => "opened",
            Stage::Established => "established",
        }
    }
}

/// How many connections there are in each stage, in the order of [`Stage::ALL`].
pub type StageCounts = [usize; Stage::ALL.len()];
