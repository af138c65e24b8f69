//! The names of a keystore, page by page: bounded in all, whatever the keystore goes on to say.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{Answer, Failure, KeyStoreError};

/// Longest listing: all its pages together, in bytes.
pub(super) const MAX_BYTES: usize = 16 << 20;
/// Most names of a listing: as many of 60 bytes as it has room for.
const MAX_NAMES: usize = 250_000;
/// Most pages of a listing: a keystore may answer pages without names forever.
const MAX_PAGES: usize = 10_000;

tokio::task_local! {
    /// How many bytes an answer to the call that is being made may have, if it is a page.
    static ROOM: usize;
}

/// The names found so far, and how much was read for them.
#[derive(Debug, Default)]
pub(in crate::keystore) struct Listing {
    names: Vec<String>,
    bytes: usize,
    pages: usize,
}

impl Listing {
    /// Makes the call for the next page; the answer may be as large as the listing has room left.
    ///
    /// # Errors
    /// Those of the call, and if there is no end of pages.
    pub(in crate::keystore) async fn page<E: From<Failure>>(
        &mut self,
        call: impl Future<Output = Result<Answer, E>>,
    ) -> Result<Answer, E> {
        if self.pages == MAX_PAGES {
            return Err(Failure::other("keystore", format!("the listing has more than {MAX_PAGES} pages")).into());
        }
        let answer = ROOM.scope(MAX_BYTES - self.bytes, call).await?;
        self.pages += 1;
        self.bytes += answer.body.len().min(MAX_BYTES - self.bytes);
        Ok(answer)
    }

    /// Takes the names of a page.
    ///
    /// # Errors
    /// If there are too many.
    pub(in crate::keystore) fn add(
        &mut self,
        answer: &Answer,
        names: impl IntoIterator<Item = String>,
    ) -> Result<(), KeyStoreError> {
        for name in names {
            if self.names.len() == MAX_NAMES {
                return Err(answer.unexpected(&format!("the listing has more than {MAX_NAMES} names")));
            }
            self.names.push(name);
        }
        Ok(())
    }

    /// Names that start with `prefix`, sorted by bytes, each once (docs/keystores-protocol.md §1.4).
    pub(in crate::keystore) fn select(self, prefix: &str) -> Vec<String> {
        let mut names = self.names;
        names.retain(|name| name.starts_with(prefix));
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// How many bytes the answer to a call of this task may have if it is a page of a listing, and `None` if it is not.
pub(super) fn room() -> Option<usize> {
    ROOM.try_with(|room| *room).ok()
}

/// The entries of one page. More of them than a listing may have are not read to their end.
#[derive(Debug)]
pub(in crate::keystore) struct Entries<T>(pub(in crate::keystore) Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Bounded(PhantomData))
    }
}

struct Bounded<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Bounded<T> {
    type Value = Entries<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {MAX_NAMES} entries")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Entries<T>, A::Error> {
        let mut found = Vec::new();
        while let Some(entry) = entries.next_element()? {
            if found.len() == MAX_NAMES {
                return Err(A::Error::invalid_length(MAX_NAMES + 1, &self));
            }
            found.push(entry);
        }
        Ok(Entries(found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_no_more_entries_than_a_listing() {
        let page = |names: usize| format!("[{}\"\"]", "\"\",".repeat(names - 1));
        assert_eq!(serde_json::from_str::<Entries<String>>(&page(MAX_NAMES)).unwrap().0.len(), MAX_NAMES);
        assert!(serde_json::from_str::<Entries<String>>(&page(MAX_NAMES + 1)).is_err());
        assert!(serde_json::from_str::<Entries<String>>("{}").is_err());
    }

    fn answer(body: &str) -> Answer {
        let (status, headers) = (reqwest::StatusCode::OK, reqwest::header::HeaderMap::new());
        Answer { status, headers, body: body.as_bytes().to_vec().into(), repeated: false, call: "GET".into() }
    }

    #[tokio::test]
    async fn neither_pages_nor_bytes_nor_names_are_without_end() {
        let mut listing = Listing::default();
        let mut made = 0;
        let error = loop {
            match listing.page(async { Ok::<_, Failure>(answer("{}")) }).await {
                Ok(_) => made += 1,
                Err(error) => break error.to_string(),
            }
        };
        assert_eq!((made, &*error), (MAX_PAGES, "keystore: the listing has more than 10000 pages"));
        let mut listing = Listing::default();
        let mut rooms = Vec::new();
        for body in ["a".repeat(MAX_BYTES - 1), "a".into()] {
            let call = async {
                rooms.push(room().unwrap());
                Ok::<_, Failure>(answer(&body))
            };
            listing.page(call).await.unwrap();
        }
        assert_eq!((rooms, room()), (vec![MAX_BYTES, 1], None));
        listing.add(&answer(""), vec![String::new(); MAX_NAMES]).unwrap();
        assert!(listing.add(&answer(""), [String::new()]).unwrap_err().to_string().contains("more than 250000 names"));
    }

    #[test]
    fn names_are_sorted_and_each_is_there_once() {
        let names = ["b", "ab", "aa", "ab"].map(String::from).into();
        assert_eq!(Listing { names, ..Listing::default() }.select("a"), ["aa", "ab"]);
    }
}
