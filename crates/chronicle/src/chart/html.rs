//! The chart as a page: the picture, the answers, the grace accounts, what hooks printed, and what was told as Events.
//!
//! One file that needs nothing else: no script, no font, no request. Everything that a container or a server said is text.

use std::fmt::Write as _;

use lifecycle::{EventKind, GraceAccount, ShareUser};

use super::GENERATOR;
use super::svg::{escaped, picture_without_heading};
use crate::lanes::Lanes;
use crate::life::{HookRun, Life};
use crate::text::{span_text, time_of_day, wall_text};
use crate::why::{Answer, handler_text, hook_end_text};

/// Lines of a hook's output that the page shows.
const OUTPUT_LINES_MAX: usize = 200;

/// Kubernetes Events that the page shows, the newest.
const EVENTS_MAX: usize = 200;

/// The page.
pub fn page(life: &Life, lanes: &Lanes, answers: &[Answer]) -> String {
    let title = format!("{}/{}", life.namespace, life.name);
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"generator\" content=\"{GENERATOR}\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{} – life of a pod</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n",
        escaped(&title)
    );
    let _ = writeln!(
        html,
        "<header><p class=\"kicker\">life of a pod</p><h1>{}</h1><p class=\"facts\">{} <span>·</span> {} <span>·</span> {} <span>·</span> uid {}</p></header>",
        escaped(&title),
        wall_text(life.began.wall_nanos),
        span_text(lanes.to.since(lanes.from)),
        life.phase().map_or_else(String::new, |phase| format!("{:?}", phase.phase)),
        escaped(&life.uid)
    );
    for notice in life.notices() {
        let _ = writeln!(html, "<p class=\"soft\">Note: {}</p>", escaped(&notice));
    }
    let _ = writeln!(
        html,
        "<figure class=\"chart\" tabindex=\"0\" aria-label=\"timeline\">\n{}</figure>",
        picture_without_heading(life, lanes)
    );
    write_answers(life, answers, &mut html);
    write_accounts(life, &mut html);
    write_hooks(life, &mut html);
    write_events(life, &mut html);
    html.push_str("</main>\n</body>\n</html>\n");
    html
}

fn write_answers(life: &Life, answers: &[Answer], html: &mut String) {
    if answers.is_empty() {
        return;
    }
    html.push_str("<section><h2>Why</h2>\n");
    for answer in answers {
        let _ = write!(html, "<article class=\"why\"><p>{}</p>", escaped(&answer.text));
        if !answer.evidence.is_empty() {
            html.push_str("<table><tbody>");
            for evidence in &answer.evidence {
                let age = life.age(evidence.at);
                let _ = write!(
                    html,
                    "<tr><td class=\"time\">{}.{:03} s</td><td class=\"time\">{}</td><td>{}</td></tr>",
                    age.as_secs(),
                    age.subsec_millis(),
                    time_of_day(life.wall_nanos(evidence.at)),
                    escaped(&evidence.text)
                );
            }
            html.push_str("</tbody></table>");
        }
        html.push_str("</article>\n");
    }
    html.push_str("</section>\n");
}

fn write_accounts(life: &Life, html: &mut String) {
    let settled: Vec<&GraceAccount> = life.accounts.iter().filter(|account| account.exit.is_some()).collect();
    if settled.is_empty() {
        return;
    }
    html.push_str("<section><h2>Grace</h2>\n");
    for account in settled {
        let whole = account.shares().last().map_or(0.0, |share| share.to.as_secs_f64()).max(f64::EPSILON);
        let _ = write!(
            html,
            "<article class=\"grace\"><h3>{} <small>{} s</small></h3><div class=\"budget\">",
            escaped(&account.container),
            account.grace_secs
        );
        for share in account.shares() {
            let percent = share.length().as_secs_f64() / whole * 100.0;
            let word = share_word(share.user);
            let _ = write!(
                html,
                "<i class=\"{}\" style=\"width:{percent:.2}%\" title=\"{word}, {}\"></i>",
                share_class(share.user),
                span_text(share.length())
            );
        }
        html.push_str("</div><ul class=\"shares\">");
        for share in account.shares() {
            let _ = write!(
                html,
                "<li><i class=\"{}\"></i>{} <b>{}</b></li>",
                share_class(share.user),
                share_word(share.user),
                span_text(share.length())
            );
        }
        let _ = writeln!(html, "</ul><p>{}</p></article>", escaped(&account.sentence()));
    }
    html.push_str("</section>\n");
}

fn write_hooks(life: &Life, html: &mut String) {
    let runs: Vec<(&str, u32, &HookRun)> = life
        .containers
        .iter()
        .flat_map(|container| container.instances.iter().map(move |instance| (container.name.as_str(), instance)))
        .flat_map(|(name, instance)| instance.hooks.iter().map(move |run| (name, instance.restart_count, run)))
        .collect();
    if runs.is_empty() {
        return;
    }
    html.push_str("<section><h2>Hooks</h2>\n");
    for (name, restart, run) in runs {
        let nth = if restart > 0 { format!(" (restart {restart})") } else { String::new() };
        let took = span_text(run.took(life.read_to.timestamp()));
        let is_good = run.end.is_none() || run.has_succeeded();
        let _ = write!(
            html,
            "<details{}><summary><b>{}</b>{nth} {} <span class=\"{}\">{}</span> <span class=\"time\">{took}</span></summary><code>{}</code>",
            if is_good { "" } else { " open" },
            escaped(name),
            run.hook,
            if is_good { "good" } else { "bad" },
            escaped(&hook_end_text(run)),
            escaped(&handler_text(&run.handler)),
        );
        if run.output.is_empty() {
            html.push_str("<p class=\"soft\">It printed nothing.</p>");
        } else {
            html.push_str("<pre>");
            for line in run.output.iter().take(OUTPUT_LINES_MAX) {
                let class = if line.stream == "stderr" { " class=\"err\"" } else { "" };
                let _ = writeln!(html, "<span{class}>{}</span>", escaped(&line.line));
            }
            html.push_str("</pre>");
            if run.output_cut || run.output.len() > OUTPUT_LINES_MAX {
                html.push_str("<p class=\"soft\">It printed more, which is not shown.</p>");
            }
        }
        html.push_str("</details>\n");
    }
    html.push_str("</section>\n");
}

fn write_events(life: &Life, html: &mut String) {
    if life.events.is_empty() {
        return;
    }
    html.push_str("<section><h2>Events</h2>\n<div class=\"scroll\" tabindex=\"0\"><table><thead><tr><th>after</th><th>about</th><th>reason</th><th>message</th></tr></thead><tbody>\n");
    for (at, event) in life.events.iter().skip(life.events.len().saturating_sub(EVENTS_MAX)) {
        let age = life.age(*at);
        let about = event.about.as_ref().map_or("pod", |path| path.container());
        let class = if event.kind == EventKind::Warning { " class=\"bad\"" } else { "" };
        let _ = writeln!(
            html,
            "<tr><td class=\"time\">{}.{:03} s</td><td>{}</td><td{class}>{}</td><td>{}</td></tr>",
            age.as_secs(),
            age.subsec_millis(),
            escaped(about),
            escaped(&event.reason),
            escaped(&event.message)
        );
    }
    html.push_str("</tbody></table></div></section>\n");
}

pub(super) const fn share_word(user: ShareUser) -> &'static str {
    match user {
        ShareUser::Waiting => "still starting",
        ShareUser::PreStop => "preStop",
        ShareUser::Order => "waiting for others",
        ShareUser::StopSignal => "after the stop signal",
        ShareUser::Kill => "after SIGKILL",
        ShareUser::Unused => "unused",
    }
}

pub(super) const fn share_class(user: ShareUser) -> &'static str {
    match user {
        ShareUser::Waiting => "waiting",
        ShareUser::PreStop => "prestop",
        ShareUser::Order => "order",
        ShareUser::StopSignal => "signalled",
        ShareUser::Kill => "killed",
        ShareUser::Unused => "unused",
    }
}

const STYLE: &str = "\
:root{--paper:#f5f7fa;--card:#fff;--ink:#1c2430;--soft:#5b6675;--line:#e0e5ec;--good:#137a47;--bad:#c22a30;--hook:#2878c8;--amber:#f0b548;--violet:#a67bd6;--rose:#e06468;--grey:#b8c1cc;--pale:#e2e7ed}\
@media(prefers-color-scheme:dark){:root{--paper:#0c0f13;--card:#12161c;--ink:#e6ebf2;--soft:#98a4b3;--line:#262e38;--good:#3ecb85;--bad:#ff7a7a;--hook:#5aa9f5;--amber:#c98f22;--violet:#9563d0;--rose:#d0494e;--grey:#556170;--pale:#28313c}}\
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.55 ui-sans-serif,system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans','DejaVu Sans',sans-serif}\
main{max-width:1200px;margin:0 auto;padding:28px 20px 60px}header{margin-bottom:18px}.kicker{margin:0;color:var(--soft);font-size:13px;letter-spacing:.04em}\
h1{margin:2px 0 4px;font-size:27px;line-height:1.2;overflow-wrap:anywhere}.facts{margin:0;color:var(--soft);font-variant-numeric:tabular-nums;overflow-wrap:anywhere}.facts span{padding:0 4px}\
h2{margin:0 0 12px;font-size:17px}h3{margin:0 0 8px;font-size:15px}h3 small{font-weight:400;color:var(--soft)}\
section{margin-top:30px}.chart{margin:0;background:var(--card);border:1px solid var(--line);border-radius:14px;overflow-x:auto;padding:6px}.chart svg{display:block;min-width:860px;width:100%;height:auto}\
article,details{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:14px 18px;margin:0 0 10px}article p{margin:0;overflow-wrap:anywhere}\
.why table{margin-top:8px}table{border-collapse:collapse;font-size:13.5px}td,th{padding:3px 16px 3px 0;text-align:left;vertical-align:top;overflow-wrap:anywhere}th{color:var(--soft);font-weight:500}\
.why td{color:var(--soft)}.time{color:var(--soft);font-variant-numeric:tabular-nums;white-space:nowrap}\
.scroll{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:12px;padding:10px 18px}.scroll table{min-width:640px;width:100%}\
.budget{display:flex;height:16px;border-radius:5px;overflow:hidden;background:var(--pale)}.budget i{display:block;height:100%}.budget i+i{border-left:1px solid var(--card)}\
.shares{list-style:none;display:flex;flex-wrap:wrap;gap:4px 20px;margin:9px 0 8px;padding:0;font-size:13.5px;color:var(--soft)}.shares i{display:inline-block;width:11px;height:11px;border-radius:3px;margin-right:7px}.shares b{color:var(--ink);font-weight:600}\
.waiting{background:var(--grey)}.prestop{background:var(--hook)}.order{background:var(--amber)}.signalled{background:var(--violet)}.killed{background:var(--rose)}.unused{background:var(--pale)}\
summary{cursor:pointer}summary .time{margin-left:8px}.good{color:var(--good)}.bad{color:var(--bad)}.soft{color:var(--soft);margin:8px 0 0;font-size:13.5px}\
code,pre{font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,'DejaVu Sans Mono',monospace}details code{display:block;margin-top:10px;color:var(--soft);overflow-wrap:anywhere}\
pre{margin:10px 0 0;padding:12px 14px;border-radius:8px;background:var(--paper);overflow-x:auto;white-space:pre-wrap;overflow-wrap:anywhere}.err{color:var(--bad)}\
:focus-visible{outline:2px solid var(--hook);outline-offset:2px}@media print{body{background:#fff}}";
