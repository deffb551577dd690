// A responder over plain HTTP: node echo.mjs [SERVICE]
// It claims a request (a long poll), tells how far it is, answers, and claims the next one.
import { setTimeout as sleep } from 'node:timers/promises'

const hub = process.env.QUINTET_URL ?? 'http://127.0.0.1:7070'
const service = process.argv[2] ?? 'echo'
const responder = `${hub}/responders/${encodeURIComponent(service)}`

const stop = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => stop.abort())

while (!stop.signal.aborted) {
  try {
    const claim = await fetch(`${responder}/claim?wait=30`, { method: 'POST', signal: stop.signal })
    if (claim.status === 204) continue // nobody asked for 30 seconds
    if (claim.status !== 200) throw new Error(`claim: ${claim.status} ${await claim.text()}`)
    await answer(claim)
  } catch (error) {
    if (stop.signal.aborted) break
    console.error(error.cause?.message ?? error.message)
    await sleep(1000, undefined, { signal: stop.signal }).catch(() => {})
  }
}

async function answer(claim) {
  const id = claim.headers.get('request-id')
  const type = claim.headers.get('content-type') ?? 'application/octet-stream'
  const body = Buffer.from(await claim.arrayBuffer())
  console.log(claim.headers.get('request-method'), claim.headers.get('request-path'), `${body.length} bytes`)

  // A caller who preferred respond-async sees this on the reply topic. For others it is passed over.
  await post(`requests/${id}/progress`, { 'Content-Type': 'text/plain' }, `read ${body.length} bytes`)
  await post(`requests/${id}`, { 'Content-Type': type, 'Reply-Status': '200', 'Reply-Header-Served-By': 'echo.mjs' }, body)
}

async function post(path, headers, body) {
  const response = await fetch(`${responder}/${path}`, { method: 'POST', headers, body })
  // 404: the caller is gone or the deadline has passed. The work is dropped, and the next request taken.
  if (!response.ok && response.status !== 404) throw new Error(`${path}: ${response.status} ${await response.text()}`)
  await response.arrayBuffer()
}
