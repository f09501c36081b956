//! `docs/close-codes.md`, made from `tests/close-codes.json`: a table a group and side, a row a way, a column a library.

use super::chromium::CHROMIUM;
use super::table::{Cell, Line, Side, Table};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Texts in cells are cut to so many characters; the file has the whole.
const TEXT_MAX: usize = 48;
/// Columns of the two sides, with their headings.
const CLIENTS: &[(&str, &str)] =
    &[("ws", "`ws`"), ("browser", "built into Node"), ("websockets", "`websockets`"), ("aiohttp", "`aiohttp`")];
/// Those, and the browser that was measured on `closestorm serve`.
const CLIENTS_AND_CHROMIUM: &[(&str, &str)] =
    &[("ws", "`ws`"), (CHROMIUM, "Chromium"), ("browser", "built into Node"), ("websockets", "`websockets`"), ("aiohttp", "`aiohttp`")];
const SERVERS: &[(&str, &str)] = &[("ws", "`ws`"), ("websockets", "`websockets`"), ("aiohttp", "`aiohttp`")];

/// A surprising fact, and what it says about the table.
struct Note {
    text: &'static str,
    holds: fn(&Table) -> bool,
}

fn cell<'a>(side: &'a Side, way: &str, library: &str) -> &'a Cell {
    let line = side.lines.iter().find(|line| line.way == way).unwrap_or_else(|| panic!("no way {way:?}"));
    &line.cells[library]
}

fn told<'a>(side: &'a Side, way: &str, library: &str) -> Vec<&'a str> {
    cell(side, way, library).told.iter().map(String::as_str).collect()
}

fn sees(side: &Side, way: &str, library: &str, wire: &str) -> bool {
    cell(side, way, library).wire.as_deref() == Some(wire)
}

const NOTES: &[Note] = &[
    Note {
        text: "1006 hides what happened: FIN, RST, a frame cut in the middle, SIGKILL with and without unread bytes are the same to every client here. Only in the opening handshake can an app distinguish a refused connection from a reset one, and only in the text of an error.",
        holds: |table| {
            let ways = ["FIN", "RST", "FIN inside a frame", "RST inside a frame", "SIGKILL", "SIGKILL with a message unread"];
            CLIENTS
                .iter()
                .all(|(library, _)| ways.iter().all(|way| told(&table.clients, way, library) == told(&table.clients, "FIN", library)))
        },
    },
    Note {
        text: "An `error` event does not come with every 1006: `ws` and Node's built-in WebSocket fire it if the peer violated the protocol, but not if TCP ended.",
        holds: |table| {
            ["ws", "browser"].iter().all(|library| {
                told(&table.clients, "RST", library) == ["close 1006 unclean"]
                    && told(&table.clients, "opcode 3", library).first().is_some_and(|first| first.starts_with("error"))
            })
        },
    },
    Note {
        text: "Node's built-in WebSocket fires only `error`, and no `close`, when the opening handshake fails: code that reconnects from \
               `onclose` never does. The error is the same for a refused connection, a 401 and a 503.",
        holds: |table| {
            ["nobody listens", "HTTP 401", "HTTP 503"]
                .iter()
                .all(|way| told(&table.clients, way, "browser") == ["error: Received network error or non-101 status code."])
        },
    },
    Note {
        text: "A 101 without Upgrade or Connection leaves Node's built-in WebSocket hanging: no event at all while it was watched.",
        holds: |table| ["101 without Upgrade", "101 without Connection"].iter().all(|way| told(&table.clients, way, "browser").is_empty()),
    },
    Note {
        text: "All of them report 1014 like any other code, on both sides; 1004, 1005, 1015, 999 and 2000 on the wire are protocol errors \
               for all of them. `aiohttp` takes 1006, 5000 and 65535 from the wire as valid codes.",
        holds: |table| {
            let takes = |side: &Side, library: &str, way: &str| told(side, way, library).last().is_some_and(|last| last.contains(way));
            [(&table.clients, CLIENTS), (&table.servers, SERVERS)].iter().all(|(side, columns)| {
                columns.iter().all(|(library, _)| {
                    takes(side, library, "1014")
                        && ["999", "1004 (reserved)", "1005 (never sent)", "1015 (never sent)", "2000"]
                            .iter()
                            .all(|way| sees(side, way, library, "Close 1002, ends TCP"))
                }) && ["5000", "65535"].iter().all(|way| takes(side, "aiohttp", way))
                    && told(side, "1006 (never sent)", "aiohttp") == ["CLOSE: 1006", "end 1006"]
            })
        },
    },
    Note {
        text: "`aiohttp` answers every Close frame with 1000 and not with the code that came. An empty Close frame is 1006 to its client and 0 \
               to its server, where RFC 6455 §7.1.5 says 1005. After a violation its client has the code that it sent itself (1002, 1007, \
               1009), its server has 1006.",
        holds: |table| {
            [&table.clients, &table.servers].iter().all(|side| sees(side, "1011", "aiohttp", "Close 1000, ends TCP"))
                && told(&table.clients, "empty", "aiohttp").last() == Some(&"end 1006")
                && told(&table.servers, "empty", "aiohttp").last() == Some(&"end 0")
                && told(&table.clients, "text that is not UTF-8", "aiohttp").last() == Some(&"end 1007")
                && told(&table.servers, "text that is not UTF-8", "aiohttp").last() == Some(&"end 1006")
        },
    },
    Note {
        text: "An `aiohttp` server that closes while its handler waits for a message sees 1000 whatever the client does: another code in answer, FIN or RST in place of one, or \
               no answer at all.",
        holds: |table| {
            let library_closes = table.servers.lines.iter().filter(|line| line.way.starts_with("the library closes"));
            library_closes.clone().count() == 6
                && library_closes.into_iter().all(|line| line.cells["aiohttp"].told.last().is_some_and(|last| last == "end 1000"))
        },
    },
    Note {
        text: "Python `websockets` raises ConnectionClosedOK for 1000, 1001 and an empty Close frame only; any other code is a \
               ConnectionClosedError though the closing handshake was complete. By its rule, a clean close is not the same as `wasClean`.",
        holds: |table| {
            ["empty", "1000", "1001"].iter().all(|way| told(&table.clients, way, "websockets")[0].contains("ConnectionClosedOK"))
                && ["1011", "1012", "3000"].iter().all(|way| told(&table.clients, way, "websockets")[0].contains("ConnectionClosedError"))
        },
    },
    Note {
        text: "Node's built-in WebSocket sends nothing after most violations (no 1002, no 1007): the server sees the end of TCP without a Close frame.",
        holds: |table| {
            ["opcode 3", "text that is not UTF-8", "RSV1"].iter().all(|way| sees(&table.clients, way, "browser", "no Close, ends TCP"))
        },
    },
    Note {
        text: "A blackhole, a frozen peer, a jam and a peer that does not read look alike: the app sees nothing without a keepalive. With one, \
               `aiohttp` reports 1006 and `websockets` reports 1006, having sent 1011. A pong with the wrong payload satisfies `aiohttp`, not \
               `websockets`.",
        holds: |table| {
            let silent =
                ["frozen: neither reads nor writes", "a blackhole in both directions", "bytes are held back", "reading has stopped"];
            let beating = ["frozen, with keepalive", "a blackhole, with keepalive", "no pongs, with keepalive"];
            let all = [(&table.clients, CLIENTS), (&table.servers, SERVERS)];
            all.iter().all(|(side, columns)| {
                columns.iter().all(|(library, _)| silent.iter().all(|way| told(side, way, library).is_empty()))
                    && ["websockets", "aiohttp"].iter().all(|library| {
                        beating.iter().all(|way| told(side, way, library).last().is_some_and(|last| last.starts_with("end 1006")))
                    })
                    && told(side, "pongs with another payload, with keepalive", "aiohttp").is_empty()
                    && !told(side, "pongs with another payload, with keepalive", "websockets").is_empty()
            })
        },
    },
    Note {
        text: "Chromium takes status codes that may not be sent as valid (0, 999, 1004, 2000, 5000, 65535), but not 1005, 1006 and 1015. A second Close frame or a message right behind the first one is an error to it: 1006, not 1000. So is a length in more bytes than it needs. It answers text that is not UTF-8 with 1002, not 1007.",
        holds: |table| {
            let (chromium, failed) = (&table.chromium, ["error", "close 1006 unclean"]);
            let told = |way| told(chromium, way, CHROMIUM);
            ["0", "999", "2000", "5000", "65535"].iter().all(|code| told(code) == [format!("close {code} clean")])
                && told("1004 (reserved)") == ["close 1004 clean"]
                && ["1005 (never sent)", "1006 (never sent)", "1015 (never sent)", "1000, then 1001", "1000, then a message"]
                    .iter()
                    .all(|way| told(way) == failed)
                && ["a short length in 16 bits", "a short length in 64 bits"].iter().all(|way| told(way) == failed)
                && sees(chromium, "text that is not UTF-8", CHROMIUM, "Close 1002, ends TCP")
        },
    },
    Note {
        text: "Chromium says nothing of why an opening handshake failed: `error` without a text and 1006, whether it was a 401, a 503, a redirect, FIN or RST. An RST behind a Close frame makes `wasClean` false, which `ws` calls clean. When it has closed and the server keeps TCP open, it reports the server's code after a while; `ws` waits longer than it was watched.",
        holds: |table| {
            let told = |way| told(&table.chromium, way, CHROMIUM);
            let rejected = [
                "HTTP 401",
                "HTTP 503",
                "a redirect to a port where nobody listens",
                "FIN in place of an answer",
                "RST in place of an answer",
            ];
            rejected.iter().all(|way| told(way) == ["error", "close 1006 unclean"])
                && told("1001, then RST 200 ms later") == ["close 1001 unclean"]
                && told("the library closes; answered, TCP stays open") == ["close 1000 “done” clean"]
        },
    },
];

/// The page.
///
/// # Panics
/// If a note is not true of the table.
pub(super) fn page(table: &Table) -> String {
    let mut page = String::from(
        "# What real libraries tell their users when a connection ends\n\n\
         <!-- written by scripts/measure-close-codes from tests/close-codes.json; a test keeps the two equal -->\n\n\
         Every way to end a WebSocket connection, or to hold it up, that closestorm has a fault for, and what the app that uses each library sees. Measured against closestorm's own server and clients, on plain TCP, the client libraries over wss, too; `tests/close-codes.json` has the whole texts, and \
         `scripts/measure-close-codes` measures all of it again.\n\n",
    );
    let of_browser = table.chromium.versions.iter();
    let versions: BTreeMap<_, _> = table.clients.versions.iter().chain(&table.servers.versions).chain(of_browser).collect();
    let versions: Vec<_> = versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    write!(
        page,
        "Versions: {}. The built-in WebSocket is that of this Node; `ws` runs on it, too. Chromium is headless, on `closestorm serve`, and has the ways that are steps of a URL. Each connection was watched for {} s after \
         something happened to it; “nothing” means that the app saw nothing in that time. Libraries have their defaults, but for the rows with \
         keepalive: there `websockets` pings every second and `aiohttp` every two, and both wait one for the pong.\n\n\
         How to read a cell: what the app sees, in order, then the status code in bold, the reason, and *clean* where the library says \
         so (`wasClean`; for `websockets` ConnectionClosedOK; `aiohttp` does not say). After ↩ what the other side of the connection \
         saw of the library: its Close frame, and whether it ended TCP (by FIN or RST; which of them is a race). No ↩: the other side was gone, ended TCP without waiting, held it open and looked no further, or saw nothing.\n\n\
         ## Unexpected behaviour\n\n",
        versions.join(", "),
        table.observed_ms as f64 / 1000.0,
    )
    .unwrap(); // writing to a String cannot fail
    for note in NOTES {
        assert!((note.holds)(table), "not true any more, see page.rs: {}", note.text);
        writeln!(page, "- {}", note.text).unwrap();
    }
    tables(&mut page, "What client apps see of a faulty server", &with_chromium(table), CLIENTS_AND_CHROMIUM);
    over_tls(&mut page, &table.clients, &table.clients_tls);
    tables(&mut page, "What server apps see of a faulty client", &table.servers, SERVERS);
    page
}

/// The client libraries, with the browser as one more.
fn with_chromium(table: &Table) -> Side {
    let mut side = table.clients.clone();
    for line in &mut side.lines {
        let same = table.chromium.lines.iter().find(|chromium| (&chromium.way, &chromium.by) == (&line.way, &line.by));
        line.cells.extend(same.into_iter().flat_map(|same| same.cells.clone()));
    }
    side
}

/// Where a client is told something else over wss than over ws, or shows it.
fn over_tls(page: &mut String, plain: &Side, tls: &Side) {
    let pairs: Vec<_> = plain.lines.iter().zip(&tls.lines).collect();
    let other: Vec<_> = pairs.iter().filter(|(plain, tls)| plain.cells != tls.cells).collect();
    write!(
        page,
        "\n## The same over wss\n\nThe same ways with TLS 1.3 below, by the same libraries. Of {} ways, {} are reported in the same words; these are not:\n\n\
         | way | {} |\n|---|{}\n",
        pairs.len(),
        pairs.len() - other.len(),
        CLIENTS.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(" | "),
        "---|".repeat(CLIENTS.len())
    )
    .unwrap(); // writing to a String cannot fail
    for (plain, tls) in other {
        let cells = CLIENTS.iter().map(|(library, _)| match (plain.cells.get(*library), tls.cells.get(*library)) {
            (plain, tls) if plain == tls => "as over ws".to_owned(),
            (_, Some(cell)) => shown(tls, cell),
            (_, None) => "no keepalive".to_owned(),
        });
        writeln!(page, "| {}<br>`{}` | {} |", tls.way, cut(&tls.by), cells.collect::<Vec<_>>().join(" | ")).unwrap();
    }
}

fn tables(page: &mut String, heading: &str, side: &Side, columns: &[(&str, &str)]) {
    write!(page, "\n## {heading}\n").unwrap();
    let mut group = "";
    for line in &side.lines {
        if line.group != group {
            group = &line.group;
            let names: Vec<_> = columns.iter().map(|(_, name)| *name).collect();
            write!(page, "\n### {group}\n\n| way | {} |\n|---|{}\n", names.join(" | "), "---|".repeat(columns.len())).unwrap();
        }
        let cells: Vec<_> = columns
            .iter()
            .map(|(library, _)| {
                let missing = if *library == CHROMIUM && !line.way.contains("keepalive") { "not measured" } else { "no keepalive" };
                line.cells.get(*library).map_or(missing.to_owned(), |cell| shown(line, cell))
            })
            .collect();
        writeln!(page, "| {}<br>`{}` | {} |", line.way, cut(&line.by), cells.join(" | ")).unwrap();
    }
}

fn shown(line: &Line, cell: &Cell) -> String {
    let opening = line.group.starts_with("The opening");
    let told: Vec<_> = cell.told.iter().map(|words| thing(words, opening)).collect();
    let told = if told.is_empty() { "nothing".to_owned() } else { told.join(" → ") };
    match cell.wire.as_deref() {
        None | Some("nothing" | "no Close") => told,
        Some(wire) => format!("{told}<br>↩ {wire}"),
    }
}

/// One thing told, shorter: an exception by its class, a code in bold. The text of an error where it is all there is.
fn thing(words: &str, with_text: bool) -> String {
    if let Some(code) = words.strip_prefix("end ").or_else(|| words.strip_prefix("close ")) {
        let (code, rest) = code.split_once(' ').unwrap_or((code, ""));
        let (rest, clean) =
            rest.strip_suffix("unclean").map_or_else(|| (rest.trim_end_matches("clean"), rest.ends_with("clean")), |rest| (rest, false));
        let reason = if rest.trim().is_empty() { String::new() } else { format!(" {}", cut(rest.trim())) };
        return format!("**{code}**{reason}{}", if clean { ", *clean*" } else { "" });
    }
    let Some((event, text)) = words.split_once(": ") else { return words.to_owned() };
    match event {
        "exception" if !with_text => text.split(':').next().unwrap_or(text).to_owned(),
        "exception" => cut(text),
        "error" | "ERROR" if !with_text => event.to_owned(),
        _ => format!("{event} “{}”", cut(text)),
    }
}

/// Cut to [`TEXT_MAX`], and safe in a table.
fn cut(text: &str) -> String {
    let short: String = text.chars().take(TEXT_MAX).collect();
    let more = if short.len() < text.len() { "…" } else { "" };
    format!("{}{more}", short.trim_end()).replace('|', "\\|").replace('<', "&lt;")
}
