//! Looks at each of many things while others come and go, as sandboxes do below a test run: what is gone by its turn is left
//! out.

use std::pin::pin;

use futures_util::{StreamExt as _, stream};

/// Things that are looked at side by side.
const AT_ONCE: usize = 8;

/// What `look` finds of all that are there, in the order of their names.
///
/// # Errors
/// The first error of a look that does not say that the thing is gone.
pub(crate) async fn present<T, E, L>(
    names: Vec<String>,
    is_gone: impl Fn(&E) -> bool,
    look: impl FnMut(String) -> L,
) -> Result<Vec<T>, E>
where
    L: Future<Output = Result<T, E>>,
{
    let mut looks = pin!(stream::iter(names).map(look).buffered(AT_ONCE));
    let mut found = Vec::new();
    while let Some(seen) = looks.next().await {
        match seen {
            Err(error) if is_gone(&error) => {}
            seen => found.push(seen?),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn what_goes_meanwhile_is_left_out_and_other_errors_are_not() {
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let names = || (0..40).map(|number| number.to_string()).collect();
        let look = |fails: &'static str| {
            let (now, most) = (&now, &most);
            move |name: String| async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                now.fetch_sub(1, Ordering::SeqCst);
                if name.ends_with('7') { Err(fails) } else { Ok(name) }
            }
        };
        let found = present(names(), |error| *error == "gone", look("gone")).await.unwrap();
        assert_eq!((found.len(), found[6].as_str(), found[7].as_str()), (36, "6", "8"));
        assert_eq!(most.load(Ordering::SeqCst), AT_ONCE);
        assert_eq!(present(names(), |error| *error == "gone", look("broken")).await, Err("broken"));
    }
}
