// A ticker: node --experimental-websocket ticker.mjs [TOPIC] [SECONDS] [COUNT]
// It publishes a tick every two seconds over one WebSocket, and loses and repeats none when the connection breaks:
// ticks are kept until they are acknowledged, and sent again with the same sequence number, by which the hub
// recognises those that it has already.
const [, , topic = 'ticker', seconds = '2', count = 'Infinity'] = process.argv
const hub = new URL(process.env.QUINTET_URL ?? 'http://127.0.0.1:7070')
hub.protocol = hub.protocol.replace('http', 'ws')

const KEPT_MAX = 1000 // ticks that wait for the hub; while there are so many, the ticker stands still
const producer = `ticker-${crypto.randomUUID()}`
const kept = new Map() // tick -> its frame
let ticks = 0
let socket
let pause = 100

function connect() {
  socket = new WebSocket(new URL('ws', hub), 'quintet.v1')
  socket.onopen = () => {
    pause = 100
    for (const frame of kept.values()) socket.send(frame)
  }
  socket.onmessage = ({ data }) => {
    const frame = JSON.parse(data)
    if (frame.error) fail(`${frame.error.title}: ${frame.error.detail}`)
    if (frame.ok) acknowledged(frame.id)
  }
  let ended = false
  const end = ({ code = 1006, reason }) => {
    if (ended) return
    ended = true
    if (isFinal(code)) fail(`${code} ${reason}`)
    setTimeout(connect, pause * (0.5 + Math.random()))
    pause = Math.min(pause * 2, 5_000)
  }
  socket.onclose = end
  socket.onerror = end // Node 20 tells of a refused connection by this event alone
}

function tick() {
  if (kept.size >= KEPT_MAX) return
  ticks += 1
  const publish = {
    topic,
    data: { tick: ticks, time: new Date().toISOString() },
    producer: { id: producer, epoch: 0, seq: ticks - 1 },
  }
  const frame = JSON.stringify({ id: ticks, publish })
  kept.set(ticks, frame)
  if (socket.readyState === WebSocket.OPEN) socket.send(frame)
  if (ticks >= Number(count)) clearInterval(timer)
}

function acknowledged(tick) {
  kept.delete(tick)
  console.log(`tick ${tick} is out`)
  if (ticks >= Number(count) && kept.size === 0) process.exit(0)
}

// Codes from 4400 say that the same again will fail again, but for two that only ask for patience.
function isFinal(code) {
  return code >= 4400 && code < 4450 && code !== 4408 && code !== 4429
}

function fail(why) {
  console.error(why)
  process.exit(1)
}

connect()
const timer = setInterval(tick, Number(seconds) * 1000)
