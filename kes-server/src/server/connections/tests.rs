use super::*;

const SHORT: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(5);

fn known(admitted: Admitted) -> Admitted {
    admitted.identify(Some(&Identity::new("client")), |_| true);
    admitted
}

async fn is_evicted(admitted: &Admitted) -> bool {
    timeout(SHORT, admitted.activity.evicted()).await.is_ok()
}

#[tokio::test]
async fn the_longest_idle_goes_first() {
    let connections = Connections::new(2);
    let (first, second) = (known(connections.admit().await), known(connections.admit().await));
    std::thread::sleep(Duration::from_millis(5));
    drop(first.activity.request(0));
    let third = connections.admit().await;
    second.activity.evicted().await;
    assert!(!is_evicted(&first).await, "the first was busy more recently");
    drop((first, second, third));
    timeout(LONG, connections.idle()).await.unwrap();
}

#[tokio::test]
async fn strangers_go_first_whatever_they_do() {
    let connections = Connections::new(4);
    let idle = known(connections.admit().await);
    let handshake = connections.admit().await;
    let busy = connections.admit().await;
    busy.identify(Some(&Identity::new("stranger")), |_| false);
    let request = busy.activity.request(0);
    let one = connections.admit().await;
    assert!(is_evicted(&busy).await && !is_evicted(&handshake).await);
    handshake.activity.spoke();
    let other = connections.admit().await;
    assert!(is_evicted(&one).await && !is_evicted(&handshake).await, "it has said nothing for too long");
    other.activity.spoke();
    let another = timeout(LONG, connections.admit()).await.unwrap();
    assert!(is_evicted(&handshake).await && !is_evicted(&other).await, "it has had its time");
    assert!(!is_evicted(&idle).await && !is_evicted(&another).await);
    drop(request);
}

#[tokio::test]
async fn half_of_the_places_are_for_those_who_are_known() {
    let connections = Connections::new(8);
    let others: Vec<_> = [connections.admit().await, connections.admit().await, connections.admit().await].into();
    for other in &others {
        other.identify(None, |_| true);
    }
    let client = known(connections.admit().await);
    let more = [connections.admit().await, connections.admit().await];
    assert!(is_evicted(&others[0]).await && !is_evicted(&others[1]).await, "four of eight are not known");
    assert!(!is_evicted(&client).await);
    drop((others, more));
    let open = connections.open();
    assert_eq!((open.outsiders, open.leaving), (0, 0));
}

#[tokio::test]
async fn those_at_work_are_waited_for_until_they_are_idle() {
    let connections = Connections::new(1);
    let only = known(connections.admit().await);
    let busy = only.activity.request(0);
    assert!(timeout(SHORT, connections.admit()).await.is_err());
    let (admitted, ()) = tokio::join!(timeout(LONG, connections.admit()), async { drop(busy) });
    admitted.unwrap();
    assert!(is_evicted(&only).await, "it did not end, it was idle");
}

#[tokio::test]
async fn who_waits_for_its_client_is_not_waited_for() {
    let connections = Connections::new(1);
    let only = known(connections.admit().await);
    let _request = only.activity.request(0);
    let (admitted, ()) = tokio::join!(timeout(LONG, connections.admit()), async { only.activity.waits() });
    admitted.unwrap();
}

#[tokio::test]
async fn a_reload_decides_again_who_is_known() {
    let connections = Connections::new(4);
    let former = known(connections.admit().await);
    let current = connections.admit().await;
    current.identify(Some(&Identity::new("current")), |_| false);
    connections.judge(|identity| identity.as_str() == "current");
    let more = [known(connections.admit().await), connections.admit().await, connections.admit().await];
    assert!(is_evicted(&former).await && !is_evicted(&current).await);
    drop(more);
}

#[tokio::test]
async fn answers_that_are_not_taken_end_their_connection() {
    let connections = Connections::new(4);
    let (slow, quick) = (known(connections.admit().await), known(connections.admit().await));
    let mut waiting = slow.activity.request(0);
    waiting.is_answered(100);
    for _ in 0..2 {
        let mut taken = quick.activity.request(0);
        taken.is_answered(100);
        assert!(!is_evicted(&slow).await);
        connections.next_round();
        drop(taken);
    }
    assert!(is_evicted(&slow).await && !is_evicted(&quick).await);
}

#[tokio::test]
async fn one_connection_holds_no_more_than_a_few_megabytes() {
    let connections = Connections::new(4);
    let (single, several) = (known(connections.admit().await), known(connections.admit().await));
    let mut large = single.activity.request(0);
    large.is_answered(MEMORY * 2);
    assert!(!is_evicted(&single).await, "one large answer is fine");
    let many: Vec<_> = (0..9).map(|_| several.activity.request(MEMORY_OF_ONE / 8)).collect();
    assert!(is_evicted(&several).await);
    drop((large, many));
}

#[tokio::test]
async fn when_all_hold_too_much_the_slow_and_the_greedy_go() {
    let connections = Connections::new(64);
    let mut all = Vec::new();
    for _ in 0..8 {
        all.push(known(connections.admit().await));
    }
    let mut slow = all[0].activity.request(0);
    slow.is_answered(64 << 10);
    connections.next_round();
    let requests: Vec<_> =
        all.iter().enumerate().map(|(number, one)| one.activity.request(MEMORY / 7 + number * 4096)).collect();
    connections.open().relieve(connections.round());
    assert!(is_evicted(&all[0]).await, "it is slow");
    assert!(is_evicted(&all[7]).await, "it has most");
    assert!(!is_evicted(&all[1]).await && !is_evicted(&all[2]).await);
    drop((requests, slow, all));
    assert_eq!(connections.0.held.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn nothing_begins_until_those_that_hold_too_much_are_gone() {
    let connections = Connections::new(64);
    let keeper = connections.clone();
    let keeping = tokio::spawn(async move { keeper.keep_room().await });
    let (mut greedy, other) = (Vec::new(), known(connections.admit().await));
    for _ in 0..4 {
        greedy.push(known(connections.admit().await));
    }
    let requests: Vec<_> = greedy.iter().map(|one| one.activity.request(MEMORY / 3)).collect();
    assert!(other.activity.are_full());
    assert!(timeout(SHORT, other.activity.room()).await.is_err(), "their memory is still in use");
    let evicted = greedy.iter().filter(|one| one.activity.is_evicted()).count();
    assert!((1..4).contains(&evicted) && !other.activity.is_evicted(), "{evicted} were asked to go");
    let (waited, ()) = tokio::join!(timeout(LONG, other.activity.room()), async { drop(requests) });
    waited.unwrap();
    keeping.abort();
}

#[tokio::test]
async fn a_handshake_does_not_pay_for_what_others_hold() {
    let connections = Connections::new(64);
    let mut greedy = Vec::new();
    for _ in 0..4 {
        greedy.push(known(connections.admit().await));
    }
    let (silent, newcomer) = (connections.admit().await, connections.admit().await);
    newcomer.activity.spoke();
    let small = known(connections.admit().await);
    let mut quick = small.activity.request(0);
    quick.is_answered(100);
    connections.next_round();
    let requests: Vec<_> = greedy.iter().map(|one| one.activity.request(MEMORY / 3)).collect();
    connections.open().relieve(connections.round());
    let mut evicted = 0;
    for one in &greedy {
        evicted += usize::from(is_evicted(one).await);
    }
    assert!((1..4).contains(&evicted), "{evicted} of those that hold too much are gone");
    assert!(!is_evicted(&silent).await && !is_evicted(&newcomer).await, "they hold nothing");
    assert!(!is_evicted(&small).await, "it holds little, and a round ended while its answer was on its way");
    drop((requests, quick));
}

#[test]
fn few_files_mean_few_connections() {
    assert_eq!(Connections::within(1024).0.limit, 768);
    assert_eq!(Connections::within(1 << 20).0.limit, 10_000);
    assert_eq!(Connections::within(10).0.limit, 1);
}
