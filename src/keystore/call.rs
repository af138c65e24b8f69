//! The calls of KES to a keystore, each of which needs a right there (docs/keystores-protocol.md §13).

/// What KES does with a keystore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Create,
    Get,
    List,
    Delete,
}

impl Call {
    pub(crate) fn verb(self) -> &'static str {
        match self {
            Self::Create => "create a key",
            Self::Get => "read a key",
            Self::List => "list keys",
            Self::Delete => "delete a key",
        }
    }

    /// The one of four texts, in the order of the calls.
    pub(super) fn choose(self, [create, get, list, delete]: [&'static str; 4]) -> String {
        let right = match self {
            Self::Create => create,
            Self::Get => get,
            Self::List => list,
            Self::Delete => delete,
        };
        right.to_owned()
    }
}
