//! TLS contexts by name, which can be replaced while the server runs.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::tls::{Context, Start, name};

/// The TLS contexts of a listener: one for everybody, others for the names that clients ask for (SNI, RFC 6066).
///
/// Clones are the same contexts: what one [replaces](Contexts::replace), the listeners with the others use for the next
/// connection. Those that stand keep what they have.
#[derive(Clone, Debug)]
pub struct Contexts(Arc<RwLock<Arc<Table>>>);

#[derive(Debug)]
struct Table {
    default: Context,
    names: HashMap<String, Context>,
}

impl Contexts {
    /// `default` for everybody.
    pub fn new(default: Context) -> Contexts {
        Contexts::with_names(default, [])
    }

    /// `default` for who asks for none of `names`, which are DNS names, with U-labels or A-labels, or, as `*.example.org`, all
    /// names one level below.
    pub fn with_names(
        default: Context,
        names: impl IntoIterator<Item = (String, Context)>,
    ) -> Contexts {
        Contexts(Arc::new(RwLock::new(Table::new(default, names))))
    }

    /// Replaces all of them, for connections that begin from now on.
    pub fn replace(&self, default: Context, names: impl IntoIterator<Item = (String, Context)>) {
        let table = Table::new(default, names);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = table;
    }

    fn table(&self) -> Arc<Table> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// How a handshake begins.
    pub(super) fn start(&self) -> Start {
        let table = self.table();
        let mut start = Start::new(table.default.clone());
        start.choose = !table.names.is_empty();
        start
    }

    /// What a client gets that asks for `name`.
    pub(super) fn choose(&self, name: Option<&str>) -> Context {
        let table = self.table();
        let named = name.and_then(|name| {
            let name = name::to_ascii(name.as_bytes());
            let above = || name.split_once('.').map(|(_, rest)| format!("*.{rest}"));
            table
                .names
                .get(&name)
                .or_else(|| table.names.get(&above()?))
        });
        named.unwrap_or(&table.default).clone()
    }
}

impl Table {
    fn new(default: Context, names: impl IntoIterator<Item = (String, Context)>) -> Arc<Table> {
        let names = names
            .into_iter()
            .map(|(name, context)| (name::to_ascii(name.as_bytes()), context))
            .collect();
        Arc::new(Table { default, names })
    }
}
