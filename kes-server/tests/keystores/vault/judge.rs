//! The client of others, PyPI's `hvac`, on the same fake: it writes what kes reads and reads what kes wrote.

use super::super::judge::Judge;
use super::*;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the vendors' clients of KESTACK_PYTHON"]
async fn hvac_and_kes_understand_each_other() {
    let judge = Judge::find("vault");
    let (fake, _) = start().await;
    assert_eq!(judge.ask(&["write", &fake.url()]).await, "written");
    let with_transit = VaultConfig { transit: Some(transit()), prefix: "secure".into(), ..v2(&fake) };
    for config in [v1(&fake), v2(&fake), with_transit] {
        let store = connect(config).await.unwrap();
        assert_eq!(store.list("").await.unwrap().iter().filter(|name| *name == "theirs").count(), 1);
        assert_eq!(store.get("theirs").await.unwrap().as_slice(), VALUE);
        assert_eq!(store.create("theirs", b"other").await, Err(KeyStoreError::Exists));
        store.create("ours", VALUE).await.unwrap();
    }
    assert_eq!(judge.ask(&["read", &fake.url()]).await, "read");
    for config in [v1(&fake), v2(&fake)] {
        let store = connect(config).await.unwrap();
        assert_eq!(store.get("ours").await, Err(KeyStoreError::NotFound), "hvac deleted it");
    }
}
