//! `[recovery]`: when a replica is recovered.

use resh_channel::config::{Recovery, TIME_MS_MAX};

use super::reader::{Reader, Table};

pub(super) fn recovery<'a>(reader: &mut Reader<'a>, root: &Table<'a>) -> Recovery {
    let default = Recovery::default();
    let Some(table) = reader.table(root, "recovery") else { return default };
    reader.only_keys(
        &table,
        &[
            "sessions",
            "clients",
            "window_ms",
            "boot_ms",
            "back_off_ms",
            "back_off_max_ms",
            "rejuvenate_s",
        ],
    );
    let few = 1..=u32::from(Recovery::COUNT_MAX);
    let mut count = |key, unit, default: u8| {
        let found = reader.integer(&table, key, few.clone(), unit);
        found.and_then(|count| u8::try_from(count).ok()).unwrap_or(default)
    };
    let sessions = count("sessions", "sessions", default.sessions);
    let clients = count("clients", "clients", default.clients);
    let mut time = |key| reader.integer(&table, key, 1..=TIME_MS_MAX, "milliseconds");
    let window_ms = time("window_ms").unwrap_or(default.window_ms);
    let boot_ms = time("boot_ms").unwrap_or(default.boot_ms);
    let (least, most) = (time("back_off_ms"), time("back_off_max_ms"));
    let rejuvenate_s =
        reader.integer(&table, "rejuvenate_s", 0..=Recovery::REJUVENATE_S_MAX, "seconds");
    let back_off_ms = least.unwrap_or(default.back_off_ms);
    let back_off_max_ms = most.unwrap_or(default.back_off_max_ms);
    let key = if most.is_some() { "back_off_max_ms" } else { "back_off_ms" };
    if back_off_ms > back_off_max_ms {
        let place = reader.place_of_key(&table, key);
        let problem = format!(
            "the first wait, {back_off_ms} ms, is longer than the longest, {back_off_max_ms} ms"
        );
        let hint = "set back_off_max_ms to at least back_off_ms; the wait doubles between them";
        reader.report(&place, problem, hint);
    }
    Recovery {
        sessions,
        clients,
        window_ms,
        boot_ms,
        back_off_ms,
        back_off_max_ms,
        rejuvenate_s: rejuvenate_s.unwrap_or(default.rejuvenate_s),
    }
}
