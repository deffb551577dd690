//! Serving a service's requests: the other side of [`crate::request_response`].

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::fmt;
use std::pin::{Pin, pin};
use std::time::Duration;

use quintet_wire::payload::Body;
use quintet_wire::session::answer::Responding;
use quintet_wire::session::command::{Command, Id, Progress, Reply as ReplyCommand, Respond};
use quintet_wire::session::hub::{Frame, Request};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, Id as TaskId, JoinError, JoinSet};
use tokio::time::sleep;

use crate::backoff::Backoff;
use crate::client::Client;
use crate::connection::{Connection, farewell};
use crate::error::{Error, ErrorKind};
use crate::limits::QUEUE_PROGRESS_MAX;
use crate::request_response::Reply;

impl Client {
    /// Serves a service's requests, one at a time unless told otherwise, over a WebSocket.
    #[must_use]
    pub fn respond(&self, service: &str) -> Responder {
        Responder { client: self.clone(), service: service.to_owned(), concurrency: 1 }
    }
}

/// An offer to serve.
#[derive(Clone, Debug)]
pub struct Responder {
    client: Client,
    service: String,
    concurrency: u32,
}

/// A request to be served.
pub struct Call {
    request: Request,
    progress: mpsc::Sender<Progress>,
}

impl Call {
    /// The request: method, path, query, headers, body, and how often it was handed out before.
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// The payload; empty when there is none.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.request.body.as_ref().map_or(&[], |body| &body.bytes)
    }

    /// How long the caller still waits, counted from when the request came.
    #[must_use]
    pub fn wait(&self) -> Duration {
        Duration::try_from_secs_f64(self.request.wait).unwrap_or_default()
    }

    /// Tells the caller how far the work is; only one that waits on a reply topic sees it.
    ///
    /// Dropping the future before it is done means that it is not told.
    ///
    /// # Errors
    /// When the connection over which the request came is gone, so that no reply can reach the caller either.
    pub async fn progress(&self, body: Body) -> Result<(), Error> {
        let progress = Progress { request: self.request.id.clone(), body };
        let sent = self.progress.send(progress).await;
        sent.map_err(|_| Error::new(ErrorKind::Transport, "the connection to the hub broke"))
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.request.fmt(f)
    }
}

impl Responder {
    /// Sets how many requests are served at once; 1, unless told.
    #[must_use]
    pub fn concurrency(mut self, concurrency: u32) -> Self {
        self.concurrency = concurrency.max(1);
        self
    }

    /// Serves until the hub refuses for good. Reconnects by itself. A handler is dropped in its work when the caller
    /// is gone or the connection broke; one that panics makes a reply with status 500.
    ///
    /// Dropping the future ends the serving at once, and the handlers with it.
    ///
    /// # Errors
    /// When the hub refuses, e.g. because the token does not allow it.
    pub async fn run<F, R>(self, handler: F) -> Result<Infallible, Error>
    where
        F: Fn(Call) -> R + Send + Sync + 'static,
        R: Future<Output = Reply> + Send + 'static,
    {
        match self.run_until(handler, std::future::pending()).await {
            Err(error) => Err(error),
            Ok(()) => unreachable!("what is pending for ever never ends it"),
        }
    }

    /// Serves until told to stop, then finishes what is begun.
    ///
    /// Dropping the future ends the serving at once, and the handlers with it.
    ///
    /// # Errors
    /// When the hub refuses, e.g. because the token does not allow it.
    pub async fn run_until<F, R>(self, handler: F, stop: impl Future<Output = ()>) -> Result<(), Error>
    where
        F: Fn(Call) -> R + Send + Sync + 'static,
        R: Future<Output = Reply> + Send + 'static,
    {
        let (mut stop, mut stopped) = (pin!(stop), false);
        let mut backoff = Backoff::default();
        loop {
            let error = match self.attempt(&handler, stop.as_mut(), &mut stopped, &mut backoff).await {
                Ok(()) => return Ok(()),
                Err(error) if !error.is_retryable() => return Err(error),
                Err(_) if stopped => return Ok(()),
                Err(error) => error,
            };
            let delay = backoff.failed(error.retry_after());
            tracing::warn!(%error, ?delay, "serving was interrupted");
            tokio::select! {
                () = sleep(delay) => {}
                () = &mut stop => return Ok(()),
            }
        }
    }

    /// Serves over one connection, until told to stop or it breaks.
    async fn attempt<F, R>(
        &self,
        handler: &F,
        mut stop: Pin<&mut impl Future<Output = ()>>,
        stopped: &mut bool,
        backoff: &mut Backoff,
    ) -> Result<(), Error>
    where
        F: Fn(Call) -> R,
        R: Future<Output = Reply> + Send + 'static,
    {
        let mut serving = tokio::select! {
            serving = Serving::open(self) => serving?,
            () = &mut stop => return Ok(()),
        };
        backoff.succeeded();
        serving.serve(handler, stop, stopped).await
    }
}

/// Serving over one connection. Dropping it drops the handlers, whose replies could reach nobody any more.
struct Serving {
    connection: Connection,
    responder: u64,
    handlers: JoinSet<Reply>,
    // By request, to drop the handler of one that nobody waits for,
    aborts: HashMap<String, AbortHandle>,
    // and by task, to know which request a reply is for.
    requests: HashMap<TaskId, String>,
    progress: (mpsc::Sender<Progress>, mpsc::Receiver<Progress>),
    // Replies that the hub has not confirmed. Hanging up before would lose them.
    unconfirmed: HashSet<Id>,
    // The hub is going; it waits a moment for replies to what is begun.
    farewell: Option<Error>,
}

impl Serving {
    async fn open(responder: &Responder) -> Result<Self, Error> {
        let mut connection = Connection::open(&responder.client).await?;
        let respond = Respond { service: responder.service.clone(), concurrency: responder.concurrency };
        let answer: Responding = connection.call(&Command::Respond(respond)).await?;
        Ok(Serving {
            connection,
            responder: answer.responder,
            handlers: JoinSet::new(),
            aborts: HashMap::new(),
            requests: HashMap::new(),
            progress: mpsc::channel(QUEUE_PROGRESS_MAX),
            unconfirmed: HashSet::new(),
            farewell: None,
        })
    }

    async fn serve<F, R>(
        &mut self,
        handler: &F,
        mut stop: Pin<&mut impl Future<Output = ()>>,
        stopped: &mut bool,
    ) -> Result<(), Error>
    where
        F: Fn(Call) -> R,
        R: Future<Output = Reply> + Send + 'static,
    {
        loop {
            if self.handlers.is_empty() && self.unconfirmed.is_empty() {
                if let Some(error) = self.farewell.take() {
                    return Err(error);
                }
                if *stopped {
                    return Ok(());
                }
            }
            tokio::select! {
                // In this order, so that progress is told before the reply that follows it.
                biased;
                frame = self.connection.receive_any() => match frame? {
                    Frame::Request(request) => self.begin(handler, *request),
                    Frame::Cancel(cancel) => self.cancel(&cancel.request),
                    Frame::Goodbye(goodbye) => self.farewell = Some(farewell(&goodbye)),
                    Frame::Answer { id, result } => {
                        if let Some(id) = id {
                            self.unconfirmed.remove(&id);
                        }
                        if let Err(problem) = result {
                            tracing::debug!(%problem, "a reply came too late");
                        }
                    }
                    _ => {}
                },
                Some(progress) = self.progress.1.recv() => {
                    self.command(Command::Progress(progress)).await?;
                }
                Some(done) = self.handlers.join_next_with_id() => {
                    if let Some(reply) = self.finish(done) {
                        let id = self.command(Command::Reply(reply)).await?;
                        self.unconfirmed.insert(id);
                    }
                }
                () = &mut stop, if !*stopped => {
                    *stopped = true;
                    self.command(Command::Unrespond { responder: self.responder }).await?;
                }
            }
        }
    }

    async fn command(&mut self, command: Command) -> Result<Id, Error> {
        let id = self.connection.id();
        self.connection.send(&command, id).await?;
        Ok(Id::from(id))
    }

    fn begin<F, R>(&mut self, handler: &F, request: Request)
    where
        F: Fn(Call) -> R,
        R: Future<Output = Reply> + Send + 'static,
    {
        let id = request.id.clone();
        let call = Call { request, progress: self.progress.0.clone() };
        let abort = self.handlers.spawn(handler(call));
        self.requests.insert(abort.id(), id.clone());
        self.aborts.insert(id, abort);
    }

    fn cancel(&mut self, request: &str) {
        if let Some(abort) = self.aborts.remove(request) {
            abort.abort();
        }
    }

    /// The reply that a finished handler makes; none when it was dropped.
    fn finish(&mut self, done: Result<(TaskId, Reply), JoinError>) -> Option<ReplyCommand> {
        let (task, reply) = match done {
            Ok((task, reply)) => (task, Some(reply)),
            Err(error) if error.is_panic() => (error.id(), Some(panicked())),
            Err(error) => (error.id(), None),
        };
        let request = self.requests.remove(&task)?;
        self.aborts.remove(&request);
        let Reply { status, headers, body } = reply?;
        Some(ReplyCommand { request, status, headers, body })
    }
}

fn panicked() -> Reply {
    tracing::error!("a handler panicked");
    Reply::status(500, Body::text("the responder failed\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeHub;
    use quintet_wire::envelope::Headers;
    use quintet_wire::session::answer::{self, Done};
    use quintet_wire::session::hub::{Cancel, Goodbye};
    use std::sync::Arc;
    use tokio::sync::oneshot;

    fn request(id: &str, path: &str) -> String {
        let request = Request {
            id: id.into(),
            responder: 5,
            service: "s".into(),
            method: "POST".into(),
            path: path.into(),
            query: String::new(),
            headers: Headers::new(),
            body: Some(Body::text("hi")),
            attempt: 1,
            wait: 2.5,
        };
        request.encode()
    }

    async fn handle(call: Call) -> Reply {
        assert_eq!(call.wait(), Duration::from_millis(2500));
        match call.request().path.as_str() {
            "/never" => std::future::pending().await,
            "/panic" => panic!("as the test wants it"),
            _ => {
                call.progress(Body::text("half")).await.unwrap();
                Reply::ok(call.request().body.clone())
            }
        }
    }

    #[tokio::test]
    async fn serves_cancels_and_stops() {
        let (hub, client) = FakeHub::start().await;
        let (stop, stopped) = oneshot::channel::<()>();
        let responder = client.respond("s").concurrency(3).run_until(handle, async { stopped.await.unwrap() });
        let hub_side = async {
            let mut session = hub.session().await;
            let (id, command) = session.command().await.unwrap();
            assert_eq!(command, Command::Respond(Respond { service: "s".into(), concurrency: 3 }));
            session.say(answer::ok(&id, &Responding { responder: 5 })).await;

            session.say(request("a", "/never")).await;
            session.say(request("b", "/")).await;
            let (_, command) = session.command().await.unwrap();
            assert_eq!(command, Command::Progress(Progress { request: "b".into(), body: Body::text("half") }));
            let (id, command) = session.command().await.unwrap();
            let (status, headers, body) = (200, Headers::new(), Some(Body::text("hi")));
            assert_eq!(command, Command::Reply(ReplyCommand { request: "b".into(), status, headers, body }));
            session.say(answer::ok(&id, &Done {})).await;

            session.say(request("c", "/panic")).await;
            let (last, command) = session.command().await.unwrap();
            assert!(matches!(command, Command::Reply(reply) if reply.request == "c" && reply.status == 500));

            stop.send(()).unwrap();
            let (id, command) = session.command().await.unwrap();
            assert_eq!(command, Command::Unrespond { responder: 5 });
            session.say(answer::ok(&id, &Done {})).await;
            // The last handler would never end by itself.
            session.say(Cancel { request: "a".into() }.encode()).await;
            // It does not hang up on a reply that is not confirmed.
            session.say(answer::ok(&last, &Done {})).await;
            assert!(session.command().await.is_none());
        };
        let (served, ()) = tokio::join!(responder, hub_side);
        served.unwrap();
    }

    #[tokio::test]
    async fn a_goodbye_does_not_stop_what_is_begun() {
        let (hub, client) = FakeHub::start().await;
        let (finish, finished) = oneshot::channel::<()>();
        let finished = Arc::new(tokio::sync::Mutex::new(finished));
        let handler = move |_: Call| {
            let finished = Arc::clone(&finished);
            async move {
                (&mut *finished.lock().await).await.unwrap();
                Reply::ok(None)
            }
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let responder = client.respond("s").run_until(handler, async { stopped.await.unwrap() });
        let hub_side = async {
            let mut session = hub.session().await;
            let (id, _) = session.command().await.unwrap();
            session.say(answer::ok(&id, &Responding { responder: 5 })).await;
            session.say(request("a", "/")).await;
            session.say(Goodbye { reason: "shutting-down".into(), retry_after: 1 }.encode()).await;
            finish.send(()).unwrap();
            let (id, command) = session.command().await.unwrap();
            assert!(matches!(command, Command::Reply(reply) if reply.request == "a" && reply.status == 200));
            session.say(answer::ok(&id, &Done {})).await;
            // Then it comes again.
            assert!(session.command().await.is_none());
            let mut session = hub.session().await;
            assert!(matches!(session.command().await, Some((_, Command::Respond(_)))));
            stop.send(()).unwrap();
        };
        let (served, ()) = tokio::join!(responder, hub_side);
        served.unwrap();
    }
}
