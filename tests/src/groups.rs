//! Consumer groups with nothing but `curl`: workers that are shell scripts, on a hub that is killed in the middle.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::deadline::{SOON, within};
use crate::harness::hub::Hub;

const MESSAGES: usize = 40;

/// Claims a message, writes down what it says, acknowledges it, again and again; what cannot be asked now is asked again.
const WORKER: &str = r#"
claimed=$(mktemp)
trap 'rm -f "$claimed"; exit' TERM
while :; do
  code=$(curl -s -m 10 -X POST "$GROUP/claim?wait=1&member=$NAME" -o "$claimed" -w '%{http_code}')
  [ "$code" = 200 ] || { [ "$code" = 204 ] || sleep 0.1; continue; }
  id=$(sed -n 's/.*"delivery":{"id":"\([^"]*\)".*/\1/p' "$claimed")
  if grep -q '"count":1,' "$claimed" && grep -q '"data":"[0-9]*7"' "$claimed"; then
    curl -s -m 10 -X POST "$GROUP/nack?delivery=$id&delay=10ms" > /dev/null
  else
    echo "$(sed -n 's/.*"data":"\([^"]*\)".*/\1/p' "$claimed")" >> "$DONE"
    curl -s -m 10 -X POST "$GROUP/ack?delivery=$id" > /dev/null
  fi
done
"#;

/// A worker that dies with this value.
struct Worker(Child);

impl Worker {
    fn start(group: &str, name: &str, done: &Path) -> Self {
        let mut command = Command::new("sh");
        command.arg("-c").arg(WORKER).env("GROUP", group).env("NAME", name).env("DONE", done);
        Self(command.stdin(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        crate::harness::hub::signal(self.0.id(), "TERM");
        drop(self.0.wait());
    }
}

fn curl(arguments: &[&str]) -> Value {
    let output = Command::new("curl").args(["-s", "-m", "10"]).args(arguments).output().expect("this test needs curl");
    serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
}

fn lines(done: &Path) -> Vec<String> {
    std::fs::read_to_string(done).unwrap_or_default().lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shell_workers_do_all_the_work_across_a_crash_of_the_hub() {
    let mut hub = Hub::start().await;
    let group = format!("{}/groups/workers", hub.url());
    let set_up = curl(&["-X", "PUT", "-d", r#"{"filter":"work/#","ack_wait":"2s"}"#, &group]);
    assert_eq!((&set_up["group"], &set_up["durability"]), (&json!("workers"), &json!("disk")), "{set_up}");
    for n in 0..MESSAGES {
        hub.http().publish(&format!("work/{}", n % 3), &n.to_string()).await;
    }
    let done = hub.dir.path().join("done");
    let workers = ["anna", "ben"].map(|name| Worker::start(&group, name, &done));
    within(SOON, "some work to be done", async {
        while lines(&done).len() < MESSAGES / 4 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    hub.kill();
    hub.start_again().await;
    let settled = within(SOON, "all work to be done", async {
        loop {
            let told = hub.http().get("/groups/workers").send().await.expect(200).json();
            if told["counts"]["acknowledged"] == MESSAGES {
                return told;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    drop(workers);
    assert_eq!((&settled["lag"], &settled["in_flight"], &settled["waiting"]), (&json!(0), &json!(0), &json!(0)));
    let redelivered = usize::try_from(settled["counts"]["redelivered"].as_u64().unwrap()).unwrap();
    assert!(redelivered >= 4, "the four that were given back: {settled}");
    let all: BTreeSet<String> = lines(&done).into_iter().collect();
    assert_eq!(all, (0..MESSAGES).map(|n| n.to_string()).collect::<BTreeSet<_>>());
    // Work was done twice only where its message had to be handed out twice.
    assert!(lines(&done).len() <= MESSAGES + redelivered, "{redelivered}: {:?}", lines(&done));
}
