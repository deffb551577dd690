// An upload server: node server.mjs [PORT] [FOLDER]
//
//   PUT /files/<id>    the file's bytes, e.g. curl -T photo.jpg http://127.0.0.1:8001/files/photo-1
//
// How much has arrived is published to the topic uploads/<id> while it arrives: counted from bytes that were read
// from the connection, not guessed. What came of it is its last message, and the only message of uploads/<id>/done;
// with it, both topics are closed.
import { createHash } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { open, unlink } from 'node:fs/promises'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'

const [, , port = '8001', folder = 'uploads'] = process.argv
const hub = process.env.QUINTET_URL ?? 'http://127.0.0.1:7070'

const FILE_BYTES_MAX = 1 << 30
const PROGRESS_MS = 100 // progress is told at most so often
const TOPICS_SECONDS = 3600 // the topics go when nobody has used them for so long

mkdirSync(folder, { recursive: true })

const server = createServer(async (request, response) => {
  const id = /^\/files\/([\w-]{1,64})$/.exec(request.url)?.[1]
  try {
    if (request.method !== 'PUT' || !id) throw new Refusal(404, 'send the file with PUT /files/<id>')
    answer(response, 201, await receive(id, request))
  } catch (error) {
    if (!(error instanceof Refusal)) console.error(error.message)
    // What is still on its way is not wanted any more.
    request.resume()
    response.setHeader('Connection', 'close')
    answer(response, error instanceof Refusal ? error.status : 500, { error: error.message })
  }
})

async function receive(id, request) {
  const total = request.headers['content-length'] === undefined ? null : Number(request.headers['content-length'])
  if (total > FILE_BYTES_MAX) throw new Refusal(413, `a file has at most ${FILE_BYTES_MAX} bytes`)
  const path = join(folder, id)
  const file = await open(path, 'wx').catch((error) => {
    throw error.code === 'EEXIST' ? new Refusal(409, `there is a file ${id} already`) : error
  })
  let stored = false
  try {
    const progress = await Progress.begin(id, total)
    try {
      const sha256 = await store(request, file, progress)
      stored = true
      const outcome = { state: 'done', received: progress.received, total: progress.received, sha256 }
      await progress.end(outcome)
      return outcome
    } catch (error) {
      if (!stored) await progress.end({ state: 'failed', received: progress.received, total, reason: error.message })
      throw error
    }
  } finally {
    await file.close() // the stream has closed it, unless it never began
    if (!stored) await unlink(path)
  }
}

// From the connection through the counter to the file. The pipeline reads no faster than the disk writes: when the
// file is behind, the connection is not read, and TCP slows the sender down.
async function store(request, file, progress) {
  const hash = createHash('sha256')
  const counter = new Transform({
    transform(chunk, _encoding, next) {
      progress.received += chunk.length
      if (progress.received > FILE_BYTES_MAX) return next(new Refusal(413, 'the file is too large'))
      hash.update(chunk)
      progress.tell()
      next(null, chunk)
    },
  })
  await pipeline(request, counter, file.createWriteStream())
  return hash.digest('hex')
}

// What is told about one upload.
class Progress {
  received = 0
  #due = 0
  #telling = null

  constructor(id, total) {
    this.topic = `uploads/${id}`
    this.total = total
  }

  static async begin(id, total) {
    const progress = new Progress(id, total)
    for (const topic of [progress.topic, `${progress.topic}/done`]) {
      const headers = { 'Content-Type': 'application/json', 'Stream-TTL': String(TOPICS_SECONDS) }
      const { status } = await call('PUT', topic, headers)
      if (status !== 201) throw new Refusal(409, `there is a topic ${topic} already; choose another id`)
    }
    return progress
  }

  // The upload does not wait for this. One message is under way at most; what happens meanwhile is in the next one.
  tell() {
    if (this.#telling || performance.now() < this.#due) return
    this.#due = performance.now() + PROGRESS_MS
    const message = JSON.stringify({ state: 'receiving', received: this.received, total: this.total })
    this.#telling = call('POST', this.topic, { 'Content-Type': 'application/json' }, message)
      .catch((error) => console.error(`progress was not told: ${error.message}`))
      .finally(() => (this.#telling = null))
  }

  // The last message closes the topic in the same step, so that nobody sees the one without the other.
  async end(outcome) {
    await this.#telling
    const headers = { 'Content-Type': 'application/json', 'Stream-Closed': 'true' }
    for (const topic of [this.topic, `${this.topic}/done`]) {
      for (let attempt = 1; ; attempt++) {
        try {
          const { status } = await call('POST', topic, headers, JSON.stringify(outcome))
          // 409: it is closed, so an earlier attempt has arrived, and only its answer was lost.
          if (status < 300 || status === 409) break
          throw new Error(`${topic}: the hub answers ${status}`)
        } catch (error) {
          if (attempt === 5) throw error
          await sleep(200 * attempt)
        }
      }
    }
  }
}

async function call(method, topic, headers, body) {
  try {
    const response = await fetch(`${hub}/topics/${topic}`, { method, headers, body, signal: AbortSignal.timeout(10_000) })
    await response.arrayBuffer()
    if (response.status >= 500) throw new Error(`it answers ${response.status}`)
    return response
  } catch (error) {
    throw new Refusal(503, `the hub: ${error.cause?.message ?? error.message}`)
  }
}

class Refusal extends Error {
  constructor(status, message) {
    super(message)
    this.status = status
  }
}

function answer(response, status, body) {
  response.writeHead(status, { 'Content-Type': 'application/json' }).end(`${JSON.stringify(body)}\n`)
}

server.on('error', (error) => {
  console.error(error.message)
  process.exit(1)
})
server.listen(Number(port), '127.0.0.1', () => console.log(`listening on http://127.0.0.1:${server.address().port}`))
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => {
    server.close()
    server.closeAllConnections() // what is half received is reported as failed, as for a client that is gone
  })
}
