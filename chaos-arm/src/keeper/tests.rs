use std::{
    future::Future,
    io::Write,
    thread::sleep,
    time::{Duration, Instant},
};

use chaos_api::{Found, Outcome, Request, TargetSpec};
use chaos_plan::Terms;
use tokio::{runtime::Builder, sync::broadcast::Receiver};

use super::*;
use crate::fake::{FakeEngine, Shared};

const UID: &str = "0f-1";

/// No test waits longer for what must happen.
const PATIENCE: Duration = Duration::from_secs(10);

fn world() -> Shared {
    let world = Shared::default();
    world.lock().pods.insert(UID.to_owned(), Default::default());
    world
}

fn keeper(world: &Shared, lease: Duration) -> Keeper<FakeEngine> {
    Keeper::start(FakeEngine::new(world.clone()), lease).unwrap()
}

fn wait<T>(work: impl Future<Output = T>) -> T {
    Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// Arms `drop for 1m` under this name.
fn arm(engine: &mut FakeEngine, id: &str) {
    let faults = chaos_fault::parse("drop for 1m").unwrap();
    let faults: Vec<_> = faults.into_iter().map(|sentence| sentence.fault).collect();
    let spec = TargetSpec::Pod { uid: UID.parse().unwrap(), container: None };
    let Found::Target(target) = engine.find(&spec, id, &[]) else { panic!("it is there") };
    let id = ArmedId(id.to_owned());
    let request =
        Request { id, target, faults: &faults, terms: Terms::default(), clock: &|_| None };
    assert!(matches!(engine.arm(request), Ok(Outcome::Armed(_))));
}

fn armed(handle: &Handle<FakeEngine>) -> Vec<String> {
    wait(handle.with(|engine| engine.ids().map(|id| id.0.clone()).collect())).unwrap()
}

/// The next that is told to have ended, whether somebody asked for that, and why.
fn ended(notices: &mut Receiver<Notice>) -> (String, bool, String) {
    let notice = wait(async { tokio::time::timeout(PATIENCE, notices.recv()).await });
    match notice.expect("it is told in time").expect("the keeper is there") {
        Notice::Ended(Ended { id, why, .. }) => (id.0, false, why),
        Notice::Disarmed(Ended { id, why, .. }) => (id.0, true, why),
        other @ (Notice::Injected(_) | Notice::Lost(..)) => panic!("{other:?}"),
    }
}

#[test]
fn what_is_not_tethered_again_is_disarmed_and_the_rest_stays() {
    let world = world();
    let keeper = keeper(&world, Duration::from_millis(50));
    let handle = keeper.handle();
    let mut notices = handle.subscribe_to_endings();
    handle.tether("pod", PATIENCE).unwrap();
    wait(handle.with(|engine| {
        arm(engine, "pod:shop/web-0");
        arm(engine, "pods:1");
    }))
    .unwrap();
    // Said again it counts from then on, also where that is sooner.
    handle.tether("pod", Duration::from_millis(1)).unwrap();
    let (id, was_asked, why) = ended(&mut notices);
    assert_eq!((id.as_str(), was_asked), ("pod:shop/web-0", false));
    assert!(why.contains("pod has not been heard of"), "{why}");
    assert_eq!(armed(&handle), ["pods:1"]);
}

/// Has the keeper hang until the orders that `send` gives wait for it, and `last` behind them.
fn hang_until<T: Send + 'static>(
    handle: &Handle<FakeEngine>,
    send: impl FnOnce(),
    last: impl FnOnce(&mut FakeEngine) -> T + Send + 'static,
) -> T {
    let (go_on, wait_for_it) = mpsc::channel::<()>();
    let hang = move |_: &mut FakeEngine| wait_for_it.recv().is_ok();
    let (mut hanging, mut after) = (Box::pin(handle.with(hang)), Box::pin(handle.with(last)));
    wait(async {
        // An order is given when it is polled for the first time.
        assert!(is_pending(&mut hanging).await);
        send();
        assert!(is_pending(&mut after).await);
        go_on.send(()).unwrap();
        assert!(hanging.await.unwrap());
        after.await.unwrap()
    })
}

async fn is_pending(future: &mut (impl Future + Unpin)) -> bool {
    tokio::time::timeout(Duration::ZERO, future).await.is_err()
}

#[test]
fn a_tether_holds_from_when_it_was_said_and_not_from_when_the_keeper_hears_of_it() {
    // A tick comes once a second: hardly between an order and the next one.
    let keeper = keeper(&world(), Duration::from_secs(3600));
    let handle = keeper.handle();
    let arm_anew = || {
        handle.tether("pod", PATIENCE).unwrap();
        wait(handle.with(|engine| arm(engine, "pod:shop/web-0"))).unwrap();
    };
    let moment = Duration::from_millis(1);
    let count = |engine: &mut FakeEngine| engine.ids().count();
    arm_anew();
    let say_it = || {
        handle.tether("pod", moment).unwrap();
        sleep(2 * moment);
    };
    assert_eq!(hang_until(&handle, say_it, count), 0, "it had lapsed when the keeper came to it");
    arm_anew();
    handle.tether("pod", moment).unwrap();
    let say_it_late = || {
        sleep(2 * moment);
        handle.tether("pod", PATIENCE).unwrap();
    };
    assert_eq!(hang_until(&handle, say_it_late, count), 0, "what has lapsed is not renewed");
    arm_anew();
    assert_eq!(hang_until(&handle, || (), count), 1);
}

#[test]
fn what_is_armed_behind_a_lapse_ends_as_well() {
    let keeper = keeper(&world(), Duration::from_millis(40));
    let handle = keeper.handle();
    handle.tether("pod", Duration::from_millis(1)).unwrap();
    sleep(Duration::from_millis(100));
    wait(handle.with(|engine| arm(engine, "pod:shop/web-0"))).unwrap();
    let give_up = Instant::now() + PATIENCE;
    while !armed(&handle).is_empty() {
        assert!(Instant::now() < give_up, "nobody is heard, and it goes on");
        sleep(Duration::from_millis(5));
    }
}

#[test]
fn orders_do_not_wait_for_background_work_each_time() {
    const ORDERS: usize = 200;
    let world = world();
    world.lock().has_work = true;
    let keeper = keeper(&world, Duration::from_secs(3600));
    let handle = keeper.handle();
    let mut before = 0;
    let send = || {
        before = world.lock().works;
        (0..ORDERS).for_each(|_| handle.tether("pod", PATIENCE).unwrap());
    };
    let counted = world.clone();
    let after = hang_until(&handle, send, move |_| counted.lock().works);
    assert!(after - before < ORDERS / 2, "{before} {after}");
    // It is gone on with all the same.
    let give_up = Instant::now() + PATIENCE;
    while world.lock().works < after + ORDERS {
        assert!(Instant::now() < give_up);
        sleep(Duration::from_millis(1));
    }
}

#[test]
fn what_an_order_did_is_told_before_it_is_answered() {
    let keeper = keeper(&world(), Duration::from_secs(5));
    let handle = keeper.handle();
    let mut notices = handle.subscribe_to_endings();
    let id = ArmedId("cli:1".to_owned());
    wait(handle.with(move |engine| {
        arm(engine, &id.0);
        engine.disarm_all([&id], "for a test");
    }))
    .unwrap();
    let told = notices.try_recv();
    assert!(matches!(&told, Ok(Notice::Disarmed(ended)) if ended.why == "for a test"), "{told:?}");
}

#[test]
fn what_ends_by_itself_is_told_as_such() {
    let world = world();
    let keeper = keeper(&world, Duration::from_millis(50));
    let handle = keeper.handle();
    let mut notices = handle.subscribe_to_endings();
    wait(handle.with(|engine| arm(engine, "cli:1"))).unwrap();
    world.lock().now += 60_000_000_000;
    assert_eq!(ended(&mut notices), ("cli:1".into(), false, "its time is up".into()));
}

#[test]
fn whoever_hangs_on_the_keepers_thread_renews_no_lease() {
    let world = world();
    let keeper = keeper(&world, Duration::from_millis(25));
    let handle = keeper.handle();
    let renewals = || world.lock().renewals;
    let start = Instant::now();
    while renewals() == 0 {
        assert!(start.elapsed() < PATIENCE, "leases are renewed");
        sleep(Duration::from_millis(1));
    }
    let counted = world.clone();
    let (before, after) = wait(handle.with(move |_| {
        let before = counted.lock().renewals;
        sleep(Duration::from_millis(100));
        (before, counted.lock().renewals)
    }))
    .unwrap();
    assert_eq!(after, before);
    let start = Instant::now();
    while renewals() == after {
        assert!(start.elapsed() < PATIENCE, "and are renewed when it goes on");
        sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_keeper_that_goes_disarms_everything_and_refuses_what_comes_later() {
    let keeper = keeper(&world(), Duration::from_secs(5));
    let handle = keeper.handle();
    let mut notices = handle.subscribe_to_endings();
    wait(handle.with(|engine| arm(engine, "cli:1"))).unwrap();
    drop(keeper);
    assert_eq!(ended(&mut notices), ("cli:1".into(), true, "the agent is shutting down".into()));
    assert_eq!(wait(handle.with(|_| ())), Err(KeeperGone));
    assert_eq!(handle.tether("pod", PATIENCE), Err(KeeperGone));
}

#[test]
fn an_emergency_stop_disarms_everything_for_the_reason_it_gives() {
    let keeper = keeper(&world(), Duration::from_secs(5));
    let handle = keeper.handle();
    wait(handle.with(|engine| {
        arm(engine, "cli:1");
        arm(engine, "pod:shop/web-0");
    }))
    .unwrap();
    let ended = wait(handle.halt("stop".to_owned())).unwrap();
    let why: Vec<_> = ended.iter().map(|ended| (ended.id.0.as_str(), ended.why.as_str())).collect();
    assert_eq!(why, [("cli:1", "stop"), ("pod:shop/web-0", "stop")]);
    assert!(armed(&handle).is_empty());
}

#[test]
fn what_was_asked_for_before_an_emergency_stop_is_not_armed_after_it() {
    let keeper = keeper(&world(), Duration::from_secs(5));
    let handle = keeper.handle();
    // Its target is still being looked for when the stop comes.
    let asked = handle.epoch();
    wait(handle.halt("stop".to_owned())).unwrap();
    let late = wait(handle.with_since(asked, |engine| arm(engine, "cli:1"))).unwrap();
    assert_eq!((late, armed(&handle)), (Err(HaltedSince), Vec::new()));
    let anew = handle.epoch();
    wait(handle.with_since(anew, |engine| arm(engine, "cli:2"))).unwrap().unwrap();
    assert_eq!(armed(&handle), ["cli:2"]);
}

#[test]
fn news_is_worked_on_before_the_next_tick() {
    const PIECES: usize = 20;
    let world = world();
    let (news, mut tell) = io::pipe().unwrap();
    let engine = FakeEngine::new(world.clone()).with_news(news);
    let keeper = Keeper::start(engine, Duration::from_secs(3600)).unwrap();
    let before = world.lock().renewals;
    for piece in 1..=PIECES {
        tell.write_all(&[0]).unwrap();
        let give_up = Instant::now() + PATIENCE;
        while world.lock().news < piece {
            assert!(Instant::now() < give_up, "{piece}");
            sleep(Duration::from_millis(1));
        }
    }
    // There is a tick a second, and each would work on one piece of news.
    let ticks = world.lock().renewals - before;
    assert!(ticks < PIECES as u64 / 2, "{ticks}");
    drop(keeper);
    // It has ended with the keeper, so nobody reads any more.
    let give_up = Instant::now() + PATIENCE;
    while tell.write_all(&[0]).is_ok() {
        assert!(Instant::now() < give_up);
        sleep(Duration::from_millis(1));
    }
}
