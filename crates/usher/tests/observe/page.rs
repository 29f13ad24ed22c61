//! The page of `usher serve`, in a real browser and by its requests: what it shows, to whom, and that it goes on by itself.

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::served::Served;
use crate::support::Machine;

/// Prints what would be markup, in a hook and in a log.
const POD: &str = r#"terminationGracePeriodSeconds: 8
containers:
- name: app
  image: tapp:1
  imagePullPolicy: Never
  command: [sh, -c, 'echo "<img src=x onerror=document.title=1>"; exec tapp run --term-delay 300']
  lifecycle:
    postStart: {exec: {command: [sh, -c, 'echo "<script>document.title=1</script> printed by the hook"']}}
    preStop: {exec: {command: [sh, -c, 'echo going; sleep 0.3']}}
- name: beside
  image: tapp:1
  imagePullPolicy: Never
  command: [tapp, run]
  readinessProbe: {exec: {command: ['true']}, periodSeconds: 1}"#;

/// Contrast of all text of the page with what is behind it: the lowest, and where.
const CONTRAST: &str = r"(() => {
  const rgb = (text) => { const all = text.match(/[\d.]+/g).map(Number); return all.length < 4 || all[3] === 1 ? all.slice(0, 3) : all[3] === 0 ? null : all.slice(0, 3); };
  const light = (color) => { const [r, g, b] = color.map((c) => { c /= 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  let worst = [99, ''];
  for (const element of document.querySelectorAll('body *')) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !element.checkVisibility() || !element.getClientRects().length) continue;
    let behind = null;
    for (let at = element; at && !behind; at = at.parentElement) behind = rgb(getComputedStyle(at).backgroundColor);
    const [a, b] = [light(rgb(getComputedStyle(element).color)), light(behind)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < worst[0]) worst = [ratio, `${element.tagName}.${element.className} ${element.textContent}`];
  }
  return worst;
})()";

fn link(served: &Served<'_>, more: &[&str]) -> String {
    let output = served.machine.output([&["ui"], more].concat());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{output:?}");
    text.lines().next().expect("a link").to_owned()
}

/// Looks at the page in both widths and both colours: nothing sticks out, all text can be read. Where `USHER_PICTURES` names a
/// folder, pictures go there.
fn inspect(browser: &mut Browser, name: &str) {
    for (size, width, height) in [("phone", 390, 844), ("desktop", 1280, 900)] {
        for scheme in ["light", "dark"] {
            browser.look(width, height, scheme);
            browser.until(&format!("document.documentElement.dataset.theme === '{scheme}'"));
            let wide = browser.value("document.documentElement.scrollWidth - innerWidth");
            assert!(wide.as_i64() <= Some(0), "{name} sticks out by {wide} on a {size}");
            let worst = browser.value(CONTRAST);
            assert!(worst[0].as_f64() >= Some(4.5), "{name}, {size}, {scheme}: {worst}");
            if let Some(folder) = std::env::var_os("USHER_PICTURES") {
                browser.picture(&std::path::Path::new(&folder).join(format!("{name}-{size}-{scheme}.png")));
            }
        }
    }
}

#[test]
fn a_browser_shows_a_life_while_it_goes_on() {
    const TEST: &str = "a_browser_shows_a_life_while_it_goes_on";
    let Some(machine) = Machine::new(TEST) else { return };
    let Some(mut browser) = Browser::start(TEST) else { return };
    let served = Served::start(&machine, &[]);
    browser.open("https://127.0.0.1:6443/");
    browser.until("document.querySelector('h1')?.textContent === 'Sign in'");
    assert_eq!(browser.value("location.pathname"), "/ui/");
    inspect(&mut browser, "sign-in");
    let link = link(&served, &[]);
    browser.open(&link);
    browser.until("document.querySelector('.empty')?.textContent.startsWith('No pods are here')");
    assert_eq!(browser.value("location.hash"), "#/", "the code is not left in the address");
    // From here on nothing is loaded anew.
    browser.value("window.mark = 1");
    served.create_pod("web", POD);
    browser.until("document.querySelector('.pods .status.good')?.textContent === 'Running'");
    browser.until("document.querySelector('.pods [data-label=ready]')?.textContent === '2/2'");
    inspect(&mut browser, "pods");
    browser.press("ArrowDown");
    assert_eq!(browser.value("document.activeElement.textContent"), "web");
    browser.press("Enter");
    browser.until("document.querySelector('[data-part=chart] .look-ready')");
    browser.until("document.querySelector('.logs pre')?.textContent.includes('main: start')");
    let texts = browser.value("[document.querySelector('.hook pre').textContent, document.querySelector('.logs pre').textContent]");
    assert_eq!(texts[0], "<script>document.title=1</script> printed by the hook\n");
    assert!(texts[1].as_str().is_some_and(|log| log.contains("<img src=x onerror=document.title=1>")), "{texts}");
    assert_eq!(browser.value("document.querySelectorAll('main script, main img').length"), 0, "what a pod says is no markup");
    assert_eq!(browser.value("document.title"), "web · usher");
    browser.value("document.querySelector('.hook').open = true");
    inspect(&mut browser, "life");
    browser.tab_to("at.dataset.key === 'app hooks'");
    browser.press("ArrowRight");
    browser.until("document.querySelector('.detail b')?.textContent === 'app, hooks'");
    served.delete_pod("web");
    browser.until("document.querySelector('.title .status').textContent.includes('gone')");
    browser.until("document.querySelectorAll('.grace').length === 2");
    let grace = browser.value("document.querySelector('[data-part=grace]').textContent");
    assert!(grace.as_str().is_some_and(|text| text.contains("preStop")), "{grace}");
    assert_eq!(browser.value("document.querySelector('.hook').open"), true, "what was opened stays open");
    inspect(&mut browser, "gone");
    browser.press("Escape");
    browser.until("document.querySelector('section h2')?.textContent.startsWith('Gone')");
    browser.press("/");
    assert_eq!(browser.value("document.activeElement.type"), "search");
    assert_eq!(browser.value("window.mark"), 1);
    browser.value("document.getElementById('theme').click()");
    browser.until("document.documentElement.dataset.theme === 'light'");
    browser.value("document.getElementById('leave').click()");
    browser.until("document.querySelector('h1').textContent === 'Sign in'");
    assert_eq!(browser.value("sessionStorage.length"), 0);
    assert_eq!(browser.complaints, Vec::<String>::new());
}

#[test]
fn who_only_looks_sees_no_output() {
    const TEST: &str = "who_only_looks_sees_no_output";
    let Some(machine) = Machine::new(TEST) else { return };
    let Some(mut browser) = Browser::start(TEST) else { return };
    let served = Served::start(&machine, &[]);
    served.create_pod("web", POD);
    served.wait_ready("web");
    let link = link(&served, &["--read-only"]);
    browser.open(&link);
    browser.until("document.querySelector('.pods .name a')");
    browser.value("document.querySelector('.pods .name a').click()");
    browser.until("document.querySelector('.hook summary')");
    let text = browser.value("document.body.innerText");
    let text = text.as_str().expect("text");
    assert!(text.contains("not shown to those who only look") && text.contains("usher-read-only (read-only)"), "{text}");
    assert_eq!(browser.value("document.querySelectorAll('.hook pre, .logs').length"), 0);
    assert_eq!(browser.complaints, Vec::<String>::new());
    // Nor does it come over the wire.
    let uid = browser.value("location.hash.split('/').pop()");
    let uid = uid.as_str().expect("a uid");
    let ask = |path: &str| {
        format!(
            "(async () => {{ const answer = await fetch('{path}', {{ headers: {{ Authorization: `Bearer ${{sessionStorage.getItem('usher-session')}}` }} }});
             return [answer.status, new TextDecoder().decode((await answer.body.getReader().read()).value)]; }})()"
        )
    };
    let life = browser.value(&ask(&format!("/ui/life?uid={uid}")));
    assert_eq!(life[0], 200);
    let told = life[1].as_str().expect("text");
    assert!(told.starts_with("event: life\ndata: {"), "{told}");
    let data: Value = serde_json::from_str(told.split("data: ").nth(1).expect("data").trim()).expect("JSON");
    assert_eq!(data["hooks"][0]["output"], json!([]));
    let log = browser.value(&ask(&format!("/ui/log?namespace=default&name=web&uid={uid}&container=app")));
    assert_eq!(log[0], 403, "{log}");
    served.delete_pod("web");
    served.wait_gone("web");
}

#[test]
fn sessions_are_good_for_the_page_and_for_nothing_else() {
    let Some(machine) = Machine::without_images("sessions_are_good_for_the_page_and_for_nothing_else") else { return };
    let served = Served::start(&machine, &[]);
    let json = "Content-Type: application/json";
    let post = |path: &str, headers: &[&str], body: Value| served.ask("POST", path, headers, &body.to_string());
    let told = |answer: &crate::served::Answer, field: &str| {
        let body: Value = serde_json::from_str(&answer.body).expect("JSON");
        body[field].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(post("/ui/session", &[json], json!({ "token": "nobody's" })).code, 401);
    assert_eq!(post("/ui/session", &[json], json!({})).code, 400);
    let plain = post("/ui/session", &["Content-Type: text/plain"], json!({ "token": served.token("admin") }));
    assert_eq!(plain.code, 415, "what another page could send unasked is not taken");
    let begun = post("/ui/session", &[json], json!({ "token": served.token("admin") }));
    assert_eq!((begun.code, told(&begun, "role").as_str()), (201, "admin"));
    let session = format!("Authorization: Bearer {}", told(&begun, "session"));
    assert_eq!(served.ask("GET", "/ui/me", &[&session], "").code, 200);
    for path in ["/api/v1/pods", "/metrics", "/version", "/api/v1/secrets"] {
        assert_eq!(served.ask("GET", path, &[&session], "").code, 401, "{path}");
    }
    assert_eq!(post("/ui/code", &[json, &session], json!({})).code, 403, "a session makes no links");
    let code = post("/ui/code", &[json, &served.read_only()], json!({ "role": "admin" }));
    assert_eq!(code.code, 400, "nobody gives what they do not have");
    let code = told(&post("/ui/code", &[json], json!({ "role": "read-only" })), "code");
    let used = post("/ui/session", &[json], json!({ "code": code }));
    assert_eq!((used.code, told(&used, "role").as_str()), (201, "read-only"));
    assert_eq!(post("/ui/session", &[json], json!({ "code": code })).code, 401, "once");
    assert_eq!(served.ask("DELETE", "/ui/session", &[&session], "").code, 200);
    let me = served.ask("GET", "/ui/me", &[&session], "");
    assert_eq!(serde_json::from_str::<Value>(&me.body).expect("JSON"), json!({ "user": null }));
    assert_eq!(served.ask("GET", "/ui/pods", &[&session], "").code, 401);
    for wrong in ["../../etc", "a%2Fb", ""] {
        let path = format!("/ui/log?namespace=default&name=web&uid=1&container={wrong}");
        assert_eq!(served.ask("GET", &path, &[], "").code, 400, "{wrong}");
    }
    let page = served.ask("GET", "/ui/", &["Authorization: Bearer nobody"], "");
    assert_eq!(page.code, 200, "the page itself is for everyone");
    for header in
        ["content-security-policy: default-src 'none'; script-src 'self'", "x-content-type-options: nosniff", "cache-control: no-store"]
    {
        assert!(page.head.contains(header), "{header} is not in {}", page.head);
    }
}

#[test]
fn where_no_journals_are_kept_the_page_says_so() {
    let Some(machine) = Machine::without_images("where_no_journals_are_kept_the_page_says_so") else { return };
    for (more, expected) in
        [(&["--journal-max-bytes", "0"][..], "No journals are kept on this machine"), (&[], "No such pod is remembered.")]
    {
        let served = Served::start(&machine, more);
        let life = served.ask("GET", "/ui/life?uid=0b1c", &[], "");
        assert_eq!(life.code, 200, "{}", life.body);
        assert!(life.body.contains("event: lost\n") && life.body.contains(expected), "{}", life.body);
    }
}

#[test]
fn a_life_that_is_opened_before_it_began_is_shown_when_it_begins() {
    let Some(machine) = Machine::new("a_life_that_is_opened_before_it_began_is_shown_when_it_begins") else { return };
    let served = Served::start(&machine, &["--max-pods", "1"]);
    let lasting = "terminationGracePeriodSeconds: 600
containers:
- name: app
  image: tapp:1
  imagePullPolicy: Never
  command: [tapp, run]
  lifecycle: {preStop: {exec: {command: [tapp, sleep, '600000']}}}";
    served.create_pod("first", lasting);
    served.wait_ready("first");
    // The node takes it up when the first one is gone, which is not before somebody wants that.
    served.create_pod("web", &format!("priorityClassName: system-node-critical\n{POD}"));
    let pod: Value = serde_json::from_str(&served.get("/api/v1/namespaces/default/pods/web")).expect("JSON");
    let uid = pod["metadata"]["uid"].as_str().expect("a uid");
    let mut told = served.lines(&format!("/ui/life?uid={uid}"));
    let waits = told.by_ref().find(|line| line.starts_with("event: ")).expect("something is told");
    assert_eq!(waits, "event: waiting");
    let gone = served.ask("DELETE", "/api/v1/namespaces/default/pods/first?gracePeriodSeconds=0", &[], "");
    assert!(gone.code < 300, "{gone:?}");
    let next = told.by_ref().find(|line| line.starts_with("event: ")).expect("the life is told");
    assert_eq!(next, "event: life");
    served.delete_pod("web");
    served.wait_gone("web");
    let last = told.filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok()).last().expect("the stream ends");
    assert_eq!(last["isOver"], true);
}

/// A page that is open when the daemon is started anew goes on: it says that it waits, asks who sits before it, because sessions end
/// with the daemon, and shows the same life again. Nothing is loaded anew, and a keyboard is enough.
#[test]
fn an_open_page_goes_on_when_the_daemon_was_restarted() {
    const TEST: &str = "an_open_page_goes_on_when_the_daemon_was_restarted";
    let Some(machine) = Machine::new(TEST) else { return };
    let Some(mut browser) = Browser::start(TEST) else { return };
    let served = Served::start(&machine, &[]);
    served.create_pod("web", POD);
    served.wait_ready("web");
    let link = link(&served, &[]);
    browser.open(&link);
    browser.until("document.querySelector('.pods .name a')");
    browser.value("window.mark = 1");
    browser.tab_to("at.textContent === 'web'");
    browser.press("Enter");
    browser.until("document.querySelector('[data-part=chart] .look-ready')");
    browser.until("document.getElementById('link').textContent === 'live'");
    drop(served);
    browser.until("document.getElementById('link').textContent.includes('trying again')");
    let served = Served::start(&machine, &[]);
    browser.until("document.querySelector('h1')?.textContent === 'Sign in'");
    browser.until("document.body.innerText.includes('Your session has ended.')");
    assert_eq!(browser.value("document.activeElement.id"), "token");
    browser.type_in(&served.token("admin"));
    browser.press("Enter");
    browser.until("document.querySelector('[data-part=chart] .look-ready')");
    browser.until("document.getElementById('link').textContent === 'live'");
    assert_eq!(browser.value("document.title"), "web · usher");
    assert_eq!(browser.value("window.mark"), 1, "nothing was loaded anew");
    served.delete_pod("web");
    browser.until("document.querySelector('.title .status').textContent.includes('gone')");
    let is_of_restart = |said: &String| said.contains("net::ERR_") || said.contains("401");
    let others: Vec<&String> = browser.complaints.iter().filter(|said| !is_of_restart(said)).collect();
    assert_eq!(others, Vec::<&String>::new());
}
