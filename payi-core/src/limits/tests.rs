//! Limits, tested against models of them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::{cell::Cell, sync::Arc, time::Duration};

use jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use proptest::{prelude::*, test_runner::TestRunner};

use crate::{
    Error,
    events::{Event, Outcome},
    limits::{
        Answer, Ask, Counter, Definition, Give, Limit, Limits, MemoryStore, Store, Subject, Window,
        conformance::{self, event, whole},
        decayed, gate,
        wait::block_on,
    },
    money::Money,
};

const US: i64 = 1_000_000;

#[test]
fn the_store_in_memory_keeps_the_contract() {
    conformance::suite(&|| Arc::new(MemoryStore::new()));
}

/// What a start says of a limit holds; what it says nothing of stays as others have made it.
#[test]
fn a_limit_that_is_declared_again_keeps_what_others_gave_it() {
    let usd = |text: &str| text.parse::<Money>().unwrap();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let limits = Limits::of(Arc::clone(&store));
    let declared = Limit::block("l", usd("10")).each_user();
    limits.declare(&declared).unwrap();
    let theirs = |old: Option<&Definition>| {
        let old =
            Limit::clone(&old.unwrap().limit).name("of the sales team").override_for("ada", "", usd("50"));
        Ok(old.threshold_percent(90))
    };
    limits.change::<Error>("l", theirs).unwrap();
    let ada = Subject::new("ada", "");
    block_on(store.settle("p", vec![event("ada", gate::now_us(), 7, &[])])).unwrap();

    let again = limits.declare(&declared.clone().threshold_percent(80)).unwrap().limit;
    assert_eq!((again.threshold, &*again.name), (Some(800), "of the sales team"));
    let standing = limits.standing("l", &ada).unwrap().unwrap();
    assert_eq!((standing.settled, standing.max), (7, usd("50").pico()));

    let own = limits.declare(&declared.clone().name("mine").override_for("bob", "", usd("1"))).unwrap().limit;
    assert_eq!(
        (&*own.name, own.max_of(&ada)),
        ("mine", usd("10").pico()),
        "its own overrides are all there are"
    );
    let other = limits.declare(&declared.each_account()).unwrap().limit;
    assert!(other.overrides.is_empty(), "they were users'");
}

#[cfg(feature = "ledger")]
fn ledger() -> Arc<dyn Store> {
    use crate::ledger::{Ledger, LedgerStore};
    Arc::new(LedgerStore::new(Ledger::in_memory().unwrap()))
}

#[cfg(feature = "ledger")]
#[test]
fn the_ledger_keeps_the_contract() {
    conformance::suite(&ledger);
}

#[cfg(feature = "ledger")]
#[test]
fn what_counts_no_longer_is_forgotten_and_the_rest_stays() {
    use crate::ledger::{Folder, Ledger, LedgerStore};
    let ledger = Ledger::in_memory().unwrap();
    let store = LedgerStore::new(ledger.reopen().unwrap());
    let now = gate::now_us();
    let hour = 3_600 * US;
    for (id, window) in [("ever", Window::Lifetime), ("hour", Window::rolling(Duration::from_secs(3_600)))] {
        let limit = Limit::block(id, Money::from_pico(1_000)).everyone().window(window);
        block_on(store.put(limit, now - 90 * hour)).unwrap();
    }
    for (minutes, spent) in [(3_000, 1), (2_999, 2), (40, 4), (0, 8)] {
        block_on(store.settle("p", vec![event("u", now - minutes * 60 * US, spent, &[])])).unwrap();
    }
    let rows = |sql| ledger.with(|conn| conn.query_row(sql, [], |row| row.get::<_, i64>(0))).unwrap();
    assert_eq!(rows("SELECT count(*) FROM counters"), 5);
    Folder::new(&ledger).unwrap().sweep(None).unwrap();
    assert_eq!(rows("SELECT count(*) FROM counters"), 3);
    for (id, settled) in [("ever", 15), ("hour", 12)] {
        assert_eq!(block_on(store.counter(&whole(id), now)).unwrap().unwrap().settled, settled, "{id}");
    }
}

#[test]
fn a_store_in_memory_grows_no_further_than_what_counts() {
    let (store, now, hour) = (MemoryStore::new(), gate::now_us(), 3_600 * US);
    let one = |id| Limit::block(id, Money::from_pico(1_000));
    let day = Window::rolling(Duration::from_secs(86_400));
    let each = one("each").each_user().window(day.clone());
    for limit in [one("ever").everyone(), one("all").everyone().window(day), each] {
        block_on(store.put(limit, now - 900 * hour)).unwrap();
    }
    let settle = |user: &str, hours: i64| {
        block_on(store.settle("p", vec![event(user, now - hours * hour, 1, &[])])).unwrap();
    };
    let holds = Counter { limit: "each".into(), subject: Subject::new("holds", "") };
    let ask = Ask { counter: holds, at_us: now, need: 1, want: 1, recall: None };
    block_on(store.take("p", vec![ask])).unwrap();
    for n in 0..3_000 {
        settle(&format!("old-{n}"), 800 - n / 8);
    }
    // As many as there can be counters: by then they have been looked through.
    for _ in 0..=3_003 {
        settle("new", 1);
    }
    let state = store.state();
    let left = |id: &str| {
        let counters = state.limits[id].counters.iter();
        let mut left: Vec<_> = counters.map(|(of, entry)| (of.name.to_string(), entry.slots.len())).collect();
        left.sort_unstable();
        left
    };
    assert_eq!(left("each"), [("holds".to_owned(), 0), ("new".to_owned(), 1)]);
    assert_eq!(left("all").iter().map(|(_, slots)| slots).collect::<Vec<_>>(), [&1]);
    drop(state);
    for (id, settled) in [("ever", 6_004), ("all", 3_004)] {
        assert_eq!(block_on(store.counter(&whole(id), now)).unwrap().unwrap().settled, settled, "{id}");
    }
}

#[test]
fn what_a_store_in_memory_has_forgotten_is_not_taken_off_again() {
    let (store, long_ago) = (MemoryStore::new(), gate::now_us() - 240 * 3_600 * US);
    let limit = Limit::block("l", Money::from_pico(1_000)).everyone().window(Window::day("UTC").unwrap());
    block_on(store.put(limit, long_ago)).unwrap();
    let late = event("u", long_ago, 2, &[]);
    let guessed = Event { outcome: Outcome::Abandoned, id: late.id, ..event("u", long_ago, 100, &[]) };
    block_on(store.settle("p", vec![guessed])).unwrap();
    assert!(store.state().limits["l"].counters.is_empty());
    block_on(store.settle("p", vec![late])).unwrap();
    assert_eq!(block_on(store.counter(&whole("l"), long_ago)).unwrap().unwrap().settled, 2);
}

fn at(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_microsecond()
}

#[test]
fn fault_39_windows_turn_where_people_expect_it() {
    assert_eq!(fault_39(), 8);
    assert!(Window::day("Europe/Nowhere").unwrap_err().is_config());
    for (text, window) in [
        ("month:Europe/Berlin", Window::month("Europe/Berlin").unwrap()),
        ("day", Window::day("UTC").unwrap()),
        ("rolling:24h", Window::rolling(Duration::from_secs(86_400))),
        ("rate:1m", Window::rate(Duration::from_secs(60))),
        ("lifetime", Window::Lifetime),
    ] {
        assert_eq!(Window::parse(text).unwrap(), window);
    }
    for wrong in ["", "year", "rate", "rolling:", "rolling:-1h", "lifetime:x", "month:Nowhere"] {
        assert!(Window::parse(wrong).is_err(), "{wrong}");
    }
}

/// Midnights, changes of the clocks, ends of months and years, in zones that have them; how many were looked at.
pub(super) fn fault_39() -> usize {
    let berlin = |window: fn(&str) -> crate::Result<Window>| window("Europe/Berlin").unwrap();
    let turns = [
        // Clocks go forward: that day has 23 hours; and back: 25.
        (berlin(Window::day), "2026-03-29T12:00Z", "2026-03-28T23:00Z", "2026-03-29T22:00Z"),
        (berlin(Window::day), "2026-10-25T00:30Z", "2026-10-24T22:00Z", "2026-10-25T23:00Z"),
        (berlin(Window::day), "2026-10-25T01:30Z", "2026-10-24T22:00Z", "2026-10-25T23:00Z"),
        (berlin(Window::month), "2026-02-28T22:59Z", "2026-01-31T23:00Z", "2026-02-28T23:00Z"),
        (berlin(Window::month), "2028-02-29T12:00Z", "2028-01-31T23:00Z", "2028-02-29T23:00Z"),
        (berlin(Window::month), "2026-12-31T22:59Z", "2026-11-30T23:00Z", "2026-12-31T23:00Z"),
        (berlin(Window::week), "2027-01-01T12:00Z", "2026-12-27T23:00Z", "2027-01-03T23:00Z"),
        // A day whose midnight does not exist begins at one.
        (
            Window::day("America/Asuncion").unwrap(),
            "2023-10-01T12:00Z",
            "2023-10-01T04:00Z",
            "2023-10-02T03:00Z",
        ),
    ];
    for (window, inside, start, end) in &turns {
        let found = window.slot(at(inside));
        assert_eq!(found, (at(start), at(end)), "{} at {inside}", window.describe());
        assert_eq!(window.slot(found.0), found, "its first moment is in it");
        assert_eq!(window.slot(found.1 - 1), found, "and its last");
        assert_ne!(window.slot(found.1), found);
    }
    turns.len()
}

#[test]
fn a_limit_survives_its_own_text() {
    let limit = Limit::tokens("t", u64::MAX)
        .name("ä \"quoted\"")
        .each_user()
        .window(Window::week("Asia/Tokyo").unwrap())
        .override_count("ada", "acme", 7)
        .threshold_percent(90);
    let text = serde_json::to_string(&limit).unwrap();
    assert_eq!(serde_json::from_str::<Limit>(&text).unwrap(), limit);
    assert_eq!(limit.max_of(&Subject::new("ada", "acme")), 7);
    assert_eq!(limit.max_of(&Subject::new("ada", "")), u64::MAX.into());
}

/// What may happen to a counter.
#[derive(Clone, Debug)]
enum Step {
    /// The clock jumps to this moment, in minutes of the two years looked at.
    Clock(i64),
    Settle(i128),
    Take(i128),
    /// Gives back this share, in percent, of what is held.
    Give(i128),
    Max(i128),
}

/// Minutes from the start to what windows trip over: changes of the clocks here and there, the leap day, ends of
/// months and of the year.
const EDGES: [&str; 9] = [
    "2028-02-29T23:00Z",
    "2028-03-12T07:00Z",
    "2028-03-26T01:00Z",
    "2028-04-01T15:00Z",
    "2028-04-30T22:00Z",
    "2028-09-30T15:30Z",
    "2028-10-29T01:00Z",
    "2028-11-05T06:00Z",
    "2028-12-31T23:00Z",
];

fn start() -> i64 {
    at("2027-12-30T00:00Z")
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Anywhere in two years; or within three days of an edge, to which a sequence of steps keeps.
    let edge = prop::sample::select(EDGES.to_vec()).prop_map(|edge| (at(edge) - start()) / (60 * US));
    edge.prop_flat_map(|edge| {
        let moment = prop_oneof![1 => 0..1_051_200_i64, 3 => edge - 2_160..edge + 2_160];
        let step = prop_oneof![
            moment.prop_map(Step::Clock),
            (1..60_i128).prop_map(Step::Settle),
            (1..60_i128).prop_map(Step::Take),
            (0..=100_i128).prop_map(Step::Give),
            (1..400_i128).prop_map(Step::Max),
        ];
        prop::collection::vec(step, 1..40)
    })
}

fn windows() -> impl Strategy<Value = Window> {
    let zone = prop::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]);
    (0..5_u8, zone).prop_map(|(kind, zone)| match kind {
        0 => Window::Lifetime,
        1 => Window::day(zone).unwrap(),
        2 => Window::week(zone).unwrap(),
        3 => Window::month(zone).unwrap(),
        _ => Window::rolling(Duration::from_secs(3_600)),
    })
}

/// The reference: every amount with its time, and a calendar asked anew each time.
struct Reference {
    window: Window,
    spent: Vec<(i64, i128)>,
    held: i128,
    max: i128,
}

impl Reference {
    /// The least and the most that a store may count at `now`.
    fn settled(&self, now: i64) -> (i128, i128) {
        let sum =
            |counts: &dyn Fn(i64) -> bool| self.spent.iter().filter(|(at, _)| counts(*at)).map(|s| s.1).sum();
        let day = |at: i64, zone: &str| {
            Timestamp::from_microsecond(at).unwrap().to_zoned_datetime(TimeZone::get(zone).unwrap()).date()
        };
        let both = |sum: i128| (sum, sum);
        match &self.window {
            Window::Day { zone } => both(sum(&|at| day(at, zone) == day(now, zone))),
            Window::Week { zone } => both(sum(&|at| {
                let monday = |d: jiff::civil::Date| d - i64::from(d.weekday().to_monday_zero_offset()).days();
                monday(day(at, zone)) == monday(day(now, zone))
            })),
            Window::Month { zone } => {
                both(sum(&|at| day(at, zone).first_of_month() == day(now, zone).first_of_month()))
            }
            Window::Rolling { seconds } => {
                let length = i64::from(*seconds) * US;
                let step = length / 60;
                // Never forgotten too early, and at most one step too late, also by a clock that is set back.
                let least = sum(&|at| at > now - length && at <= now + length - step);
                (least, sum(&|at| at > now - length - 2 * step && at < now + length + step))
            }
            _ => both(sum(&|_| true)),
        }
    }
}

/// What the sequences that were tried have led through.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    looks: u64,
    /// The clock was set back.
    back: u64,
    /// Between two steps the window's zone changed its clocks.
    dst: u64,
    /// Between two steps a month ended there.
    months: u64,
    /// A maximum was lowered,
    lowered: u64,
    /// to below what was spent and held.
    below: u64,
}

impl Seen {
    fn jump(&mut self, window: &Window, from: i64, to: i64) {
        let (Window::Day { zone } | Window::Week { zone } | Window::Month { zone }) = window else {
            self.back += u64::from(to < from);
            return;
        };
        let zone = TimeZone::get(zone).unwrap();
        let there = |at: i64| Timestamp::from_microsecond(at).unwrap().to_zoned_datetime(zone.clone());
        let (from, to) = (there(from), there(to));
        self.back += u64::from(to < from);
        self.dst += u64::from(from.offset() != to.offset());
        self.months += u64::from(from.month() != to.month());
    }
}

fn agrees(
    store: &dyn Store,
    window: &Window,
    steps: &[Step],
    seen: &Cell<Seen>,
) -> Result<(), TestCaseError> {
    let start = start();
    let mut saw = seen.get();
    let limit = |max: i128| Limit::block("l", Money::from_pico(max)).everyone().window(window.clone());
    block_on(store.put(limit(200), start)).unwrap();
    block_on(store.keep("p", Duration::from_secs(600))).unwrap();
    let counter = whole("l");
    let (mut now, mut model) =
        (start, Reference { window: window.clone(), spent: vec![], held: 0, max: 200 });
    for step in steps {
        match step {
            Step::Clock(minute) => {
                let to = start + minute * 60 * US;
                saw.jump(window, now, to);
                now = to;
            }
            Step::Settle(amount) => {
                // Half of what is settled was held.
                let held: &[&str] = if amount % 2 == 0 && model.held >= *amount { &["l"] } else { &[] };
                block_on(store.settle("p", vec![event("u", now, *amount, held)])).unwrap();
                model.spent.push((now, *amount));
                model.held -= if held.is_empty() { 0 } else { *amount };
            }
            Step::Take(need) => {
                let ask =
                    Ask { counter: counter.clone(), need: *need, want: need * 3, at_us: now, recall: None };
                let (least, most) = model.settled(now);
                match block_on(store.take("p", vec![ask])).unwrap().remove(0) {
                    Answer::Granted { amount, .. } => {
                        prop_assert!(amount >= *need && amount <= need * 3);
                        model.held += amount;
                        prop_assert!(least + model.held <= model.max, "more than there is");
                    }
                    Answer::Short { asked, .. } => {
                        prop_assert_eq!(asked, None);
                        prop_assert!(most + model.held + need > model.max, "refused although it fitted");
                    }
                    Answer::Gone => prop_assert!(false, "it is there"),
                }
            }
            Step::Give(percent) => {
                let amount = model.held * percent / 100;
                let give = Give { counter: counter.clone(), amount, used_at_us: None };
                block_on(store.give("p", vec![give], vec![])).unwrap();
                model.held -= amount;
            }
            Step::Max(max) => {
                block_on(store.put(limit(*max), now)).unwrap();
                saw.lowered += u64::from(*max < model.max);
                saw.below += u64::from(*max < model.max && *max < model.settled(now).0 + model.held);
                model.max = *max;
            }
        }
        let standing = block_on(store.counter(&counter, now)).unwrap().unwrap();
        let (least, most) = model.settled(now);
        prop_assert!((least..=most).contains(&standing.settled), "{} in {least}..={most}", standing.settled);
        prop_assert_eq!((standing.held, standing.max), (model.held, model.max));
        saw.looks += 1;
    }
    seen.set(saw);
    Ok(())
}

#[test]
fn both_stores_agree_with_the_reference_at_any_time() {
    let cases = 300;
    let seen = Cell::default();
    let mut runner =
        TestRunner::new(ProptestConfig { cases, source_file: Some(file!()), ..ProptestConfig::default() });
    let agreed = runner.run(&(windows(), steps()), |(window, steps)| {
        agrees(&MemoryStore::new(), &window, &steps, &seen)?;
        #[cfg(feature = "ledger")]
        agrees(&*ledger(), &window, &steps, &seen)?;
        Ok(())
    });
    agreed.unwrap_or_else(|e| panic!("{e}"));
    let Seen { looks, back, dst, months, lowered, below } = seen.get();
    assert!([back, dst, months, lowered, below].iter().all(|&often| often > 50), "{:?}", seen.get());
    println!(
        "evidence limits-reference: {cases} sequences, {looks} looks at two stores as the reference says, through {back} clocks \
         set back, {dst} changes of the clocks, {months} ends of months, {lowered} lowered maxima ({below} below what was spent)"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// The level decides as the theoretical arrival time does, which is how the algorithm is written down.
    #[test]
    fn a_level_is_the_generic_cell_rate_algorithm(
        max in 1..50_i128,
        per in 1..10_000_i64,
        gaps in prop::collection::vec(0..3_000_i64, 1..60),
    ) {
        let (mut level, mut now) = ((0_i128, 0_i64), 0_i64);
        // In units of 1/max microseconds, so that nothing is rounded.
        let (interval, burst) = (i128::from(per), i128::from(per) * max);
        let mut arrival = 0_i128;
        for gap in gaps {
            now += gap;
            let at = i128::from(now) * max;
            let (rest, then) = decayed(level.0, level.1, now, max, per);
            let fits = rest < max;
            let conforms = arrival.max(at) + interval - at <= burst;
            // The level is rounded up by less than a call, so it may refuse what only just conforms, never the
            // other way round.
            prop_assert!(!fits || conforms, "let through what does not conform");
            let clearly = arrival.max(at) + 2 * interval - at <= burst;
            prop_assert!(fits || !clearly, "refused what clearly conforms");
            if fits {
                level = (rest + 1, then);
                arrival = arrival.max(at) + interval;
            }
        }
    }
}
