// Someone who watches the ticker: node --experimental-websocket client.mjs [TOPIC] [COUNT] [CURSOR-FILE]
// It leaves after COUNT ticks. Its cursor is kept in the file, so that next time it goes on where it left off:
// what was missed comes first, then what is new, with no seam in between.
import { readFileSync, writeFileSync } from 'node:fs'

const [, , topic = 'ticker', count = 'Infinity', file] = process.argv
const hub = new URL(process.env.QUINTET_URL ?? 'http://127.0.0.1:7070')
hub.protocol = hub.protocol.replace('http', 'ws')

let cursor = restore() ?? (file ? 'start' : 'now')
let seen = 0
let pause = 100

function connect() {
  // With this subprotocol a frame holds messages with their cursors; without, it is a payload and nothing else.
  const url = new URL(`topics/${topic}?offset=${encodeURIComponent(cursor)}`, hub)
  const socket = new WebSocket(url, 'quintet.envelope')
  socket.onopen = () => (pause = 100)
  socket.onmessage = ({ data }) => {
    for (const message of JSON.parse(data).messages ?? []) {
      if (seen >= Number(count)) return
      console.log(JSON.stringify(message.data))
      keep(message.offset)
      if (++seen >= Number(count)) socket.close(1000)
    }
  }
  let ended = false
  const end = ({ code = 1006, reason }) => {
    if (ended) return
    ended = true
    if (seen >= Number(count) || (code === 1000 && reason === 'closed')) return // enough, or no more will come
    if (code === 4416) {
      // What was missed is no longer kept. The hub says so, and where what is left begins.
      console.error('some ticks are gone')
      keep(reason.split(' ').at(-1))
    } else if (code >= 4400 && code < 4450 && code !== 4408 && code !== 4429) {
      console.error(code, reason)
      process.exitCode = 1
      return
    }
    setTimeout(connect, pause * (0.5 + Math.random()))
    pause = Math.min(pause * 2, 5_000)
  }
  socket.onclose = end
  socket.onerror = end // Node 20 tells of a refused connection by this event alone
}

function restore() {
  try {
    return file && (readFileSync(file, 'utf8').trim() || undefined)
  } catch (error) {
    if (error.code !== 'ENOENT') throw error
  }
}

// After the message is dealt with, so that a crash in between repeats it rather than losing it.
function keep(offset) {
  cursor = offset
  if (file) writeFileSync(file, `${cursor}\n`)
}

connect()
