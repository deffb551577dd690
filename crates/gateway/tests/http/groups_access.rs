//! Who may do what with groups.

use quintet_core::access::{Access, Grant, Operation};
use quintet_core::name::Filter;
use quintet_gateway::auth::Tokens;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::harness::{Answer, Door, JSON, Setup};

async fn guarded() -> Door {
    let grant = |operations: &[Operation], filter: &str| Grant {
        operations: operations.to_vec(),
        filters: vec![Filter::parse(filter).unwrap()],
    };
    let owner = vec![
        grant(&[Operation::Manage, Operation::Subscribe, Operation::Publish], "work/#"),
        grant(&[Operation::Publish], "dead/#"),
    ];
    let all = [Operation::Manage, Operation::Subscribe, Operation::Publish];
    let tokens = [
        ("owner", owner),
        ("worker", vec![grant(&[Operation::Subscribe], "work/#")]),
        ("narrow", vec![grant(&all, "work/a")]),
        ("admin", vec![grant(&all, "#")]),
    ];
    let hex = |token: &str| Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let tokens = tokens.map(|(name, grants)| (hex(name), Access::new(name, grants)));
    let mut setup = Setup::default();
    setup.gateway.tokens = Tokens::new(tokens).unwrap();
    Door::with(setup).await
}

async fn ask(door: &Door, token: &str, line: &str, body: &str) -> Answer {
    door.ask(line, &[JSON, ("Authorization", &format!("Bearer {token}"))], body).await
}

#[tokio::test]
async fn who_sets_up_manages_all_that_is_shared_out() {
    let door = guarded().await;
    let put = async |token: &str, body: serde_json::Value| ask(&door, token, "PUT /groups/g", &body.to_string()).await;
    let body = json!({"filter": "work/#", "dead_letter": "dead/work"});
    put("worker", body.clone()).await.is_problem(403, "forbidden");
    put("narrow", body.clone()).await.is_problem(403, "forbidden");
    put("owner", json!({"filter": "#"})).await.is_problem(403, "forbidden");
    put("owner", json!({"filter": "work/#", "dead_letter": "other"})).await.is_problem(403, "forbidden");
    put("owner", body).await.is(201);
    for token in ["worker", "narrow"] {
        ask(&door, token, "DELETE /groups/g", "").await.is_problem(403, "forbidden");
        ask(&door, token, "POST /groups/g/redrive", "").await.is_problem(403, "forbidden");
    }
    ask(&door, "owner", "POST /groups/g/redrive", "").await.is(200);
    ask(&door, "owner", "DELETE /groups/g", "").await.is(204);
}

#[tokio::test]
async fn who_takes_messages_may_read_all_that_is_shared_out() {
    let door = guarded().await;
    ask(&door, "admin", "PUT /groups/all", r##"{"filter":"#"}"##).await.is(201);
    ask(&door, "owner", "PUT /groups/g", r#"{"filter":"work/#"}"#).await.is(201);
    ask(&door, "owner", "POST /topics/work/a", "1").await.is(204);
    let none = r#"{"deliveries":[]}"#;
    let asked = [("GET", "", ""), ("POST", "/claim?wait=0", ""), ("POST", "/ack", none), ("POST", "/nack", none)];
    for (method, rest, body) in asked.into_iter().chain([("POST", "/extend", none)]) {
        for (token, group, status) in [("owner", "all", 403), ("worker", "all", 403), ("narrow", "g", 403)] {
            let answer = ask(&door, token, &format!("{method} /groups/{group}{rest}"), body).await;
            assert_eq!(answer.status, status, "{token} {group} {rest}: {}", answer.text());
        }
        ask(&door, "worker", &format!("{method} /groups/g{rest}"), body).await.is(200);
    }
    let listed = async |token: &str| {
        let page = ask(&door, token, "GET /groups", "").await.is(200).json();
        let names = page["groups"].as_array().unwrap().iter().map(|group| group["group"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(listed("worker").await, ["g"]);
    assert_eq!(listed("admin").await, ["all", "g"]);
    assert!(listed("narrow").await.is_empty());
    let page = ask(&door, "worker", "GET /groups?limit=1", "").await.is(200).json();
    assert!(page["next"].is_null(), "what may not be seen is no further page");
}
