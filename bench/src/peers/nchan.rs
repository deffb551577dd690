//! nginx with nchan. One worker, since a second one only adds messages between workers to what a delivery costs. Over TLS
//! it has no cache of sessions, which nobody would come back to here; the rest is as it comes.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;

use anyhow::Result;

use crate::load::client::Client;
use crate::load::http::{get, post};
use crate::load::long_poller::LongPoller;
use crate::load::requester::Requester;
use crate::load::scripted::{Scripted, Step};
use crate::load::tls::Identity;
use crate::load::websocket::upgrade;
use crate::options::{Through, Via};
use crate::peers::{Peer, Security};
use crate::process::Server;

const CONFIGURATION: &str = r"
load_module /usr/lib/nginx/modules/ngx_nchan_module.so;
daemon off; master_process on; worker_processes 1; pid ROOM/pid; error_log stderr error;
user root;
events { worker_connections 19000; }
http {
  access_log off; tcp_nodelay on; keepalive_requests 100000000; keepalive_timeout 600s;
  client_body_temp_path ROOM/body; proxy_temp_path ROOM/proxy; fastcgi_temp_path ROOM/fastcgi;
  uwsgi_temp_path ROOM/uwsgi; scgi_temp_path ROOM/scgi;
  nchan_shared_memory_size 512m;
  server {
    listen ADDRESS LISTEN backlog=4096; TLS
    location = /hello { return 204; }
    location ~ ^/pub/(.+)$ { nchan_publisher; nchan_channel_id $1; nchan_message_buffer_length 2000; nchan_message_timeout 5m; }
    location ~ ^/sub/(.+)$ { nchan_subscriber; nchan_channel_id $1; nchan_subscriber_first_message newest; nchan_subscriber_timeout 0; }
  }
}
";

const TLS: &str = "ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache off;";

#[derive(Debug)]
pub(crate) struct Nchan;

impl Peer for Nchan {
    fn name(&self) -> String {
        "nginx + nchan".to_owned()
    }

    fn start(&self, room: &Path, address: SocketAddr) -> Result<Server> {
        start(room, address, "", "")
    }

    fn security(&self) -> Security {
        Security::Spoken
    }

    fn start_tls(&self, room: &Path, address: SocketAddr, identity: &Identity) -> Result<Server> {
        let (chain, key) = identity.write(&room.canonicalize()?)?;
        let files = format!("ssl_certificate {}; ssl_certificate_key {};", chain.display(), key.display());
        start(room, address, "ssl", &format!("{files} {TLS}"))
    }

    fn trifle(&self) -> Option<Vec<u8>> {
        Some(get("/hello", ""))
    }

    fn follower(&self, via: Via, topic: &str) -> Option<Box<dyn Client>> {
        let target = format!("/sub/{topic}");
        let step = match via {
            Via::Ws => upgrade(&target, ""),
            Via::Sse => {
                let say = get(&target, "Accept: text/event-stream\r\n");
                Step { say, starts: b"HTTP/1.1 200", ends: b"\r\n\r\n" }
            }
            Via::LongPoll => {
                let first = get(&target, "");
                let next = move |response: &crate::load::http::Response<'_>| {
                    let (since, tag) = (response.header("last-modified"), response.header("etag"));
                    get(&target, &format!("If-Modified-Since: {since}\r\nIf-None-Match: {tag}\r\n"))
                };
                return Some(Box::new(LongPoller::new(first, false, Rc::new(next))));
            }
            Via::Session | Via::DurableSse => return None,
        };
        Some(Box::new(Scripted::follower(Rc::new([step]))))
    }

    fn publisher(&self, _through: Through, again: Option<Rc<[u8]>>) -> Option<Box<dyn Client>> {
        Some(Box::new(Requester::new(again)))
    }

    fn publication(&self, _through: Through, topic: &str, payload: &str) -> Vec<u8> {
        post(&format!("/pub/{topic}"), payload)
    }
}

/// Starts it with these words after the address that it listens on, and these lines.
fn start(room: &Path, address: SocketAddr, listen: &str, tls: &str) -> Result<Server> {
    let folder = room.canonicalize()?.display().to_string();
    let configuration = CONFIGURATION.replace("ROOM", &folder).replace("ADDRESS", &address.to_string());
    let configuration = configuration.replace("LISTEN", listen).replace("TLS", tls);
    let file = room.canonicalize()?.join("nginx.conf");
    std::fs::write(&file, configuration)?;
    let mut command = Command::new("nginx");
    command.arg("-c").arg(file).arg("-p").arg(folder);
    Server::start(&mut command, address, crate::peers::log(room)?)
}
