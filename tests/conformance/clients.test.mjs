// Clients that exist already, unmodified: the protocol's own for JavaScript, and an `EventSource` as browsers have it.

import { DurableStream, IdempotentProducer, stream } from "@durable-streams/client"
import { createServer, connect } from "node:net"
import { EventSource } from "eventsource"
import { describe, expect, test } from "vitest"

const hub = process.env.HUB_URL
let n = 0
const fresh = (what) => `${hub}/v1/stream/clients/${what}-${process.pid}-${n++}`

/** A promise and what settles it. */
function promised() {
  const parts = {}
  parts.promise = new Promise((resolve, reject) => Object.assign(parts, { resolve, reject }))
  return parts
}

describe("@durable-streams/client", () => {
  test("creates, appends and reads", async () => {
    const handle = await DurableStream.create({ url: fresh("append"), contentType: "application/json" })
    for (let i = 0; i < 20; i++) await handle.append(JSON.stringify({ i }))
    const response = await stream({ url: handle.url, live: false })
    expect(await response.json()).toEqual(Array.from({ length: 20 }, (_, i) => ({ i })))
  })

  for (const live of ["long-poll", "sse"]) {
    test(`follows by ${live}`, async () => {
      const handle = await DurableStream.create({ url: fresh(live), contentType: "application/json" })
      await handle.append(JSON.stringify(0))
      const seen = []
      const done = promised()
      const response = await stream({ url: handle.url, live, offset: "-1" })
      const unsubscribe = response.subscribeJson((batch) => {
        seen.push(...batch.items)
        if (seen.length === 50) done.resolve()
      })
      for (let i = 1; i < 50; i++) await handle.append(JSON.stringify(i))
      await done.promise
      unsubscribe()
      response.cancel()
      expect(seen).toEqual(Array.from({ length: 50 }, (_, i) => i))
    })
  }

  test("its idempotent producer loses and repeats nothing", async () => {
    const handle = await DurableStream.create({ url: fresh("producer"), contentType: "application/json" })
    const errors = []
    const producer = new IdempotentProducer(handle, "producer-1", { autoClaim: true, onError: (e) => errors.push(e) })
    for (let i = 0; i < 1_000; i++) producer.append(JSON.stringify(i))
    await producer.flush()
    await producer.close()
    expect(errors).toEqual([])
    const response = await stream({ url: handle.url, live: false })
    expect(await response.json()).toEqual(Array.from({ length: 1_000 }, (_, i) => i))
  })

  test("sees the end of a closed stream", async () => {
    const handle = await DurableStream.create({ url: fresh("closed"), contentType: "text/plain" })
    await handle.append("all of it")
    await handle.close()
    const response = await stream({ url: handle.url, offset: "-1", live: "long-poll" })
    expect(await response.text()).toBe("all of it")
  })
})

/** A proxy that cuts its connections when told, so that the client does not know better than in real life. */
async function cuttable(target) {
  const pairs = new Set()
  const server = createServer((client) => {
    const upstream = connect(Number(target.port), target.hostname)
    const pair = [client, upstream]
    pairs.add(pair)
    for (const [from, to] of [pair, [upstream, client]]) {
      from.on("error", () => to.destroy())
      from.on("close", () => (pairs.delete(pair), to.destroy()))
      from.pipe(to)
    }
  })
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve))
  const cut = () => pairs.forEach((pair) => pair.forEach((socket) => socket.destroy()))
  return { port: server.address().port, cut, close: () => (cut(), server.close()) }
}

describe("eventsource", () => {
  test("cut off ten times in mid-stream, it misses and repeats nothing", async () => {
    const topic = `/topics/eventsource-${process.pid}-${n++}`
    const proxy = await cuttable(new URL(hub))
    const seen = []
    const done = promised()
    const total = 1_100
    let cuts = 0
    const source = new EventSource(`http://127.0.0.1:${proxy.port}${topic}?offset=start`)
    source.onmessage = ({ data }) => {
      seen.push(Number(data))
      if (seen.length === total) done.resolve()
      if (cuts < 10 && seen.length >= (cuts + 1) * 100) {
        cuts++
        proxy.cut()
      }
    }
    source.addEventListener("gap", () => done.reject(new Error("a gap")))
    for (let i = 0; i < total; i++) {
      const response = await fetch(`${hub}${topic}`, { method: "POST", headers: { "content-type": "text/plain" }, body: String(i) })
      expect(response.status).toBe(204)
      // While it is away, what comes stays in the topic; but the cuts should fall into a stream that is moving.
      while (seen.length < Math.min(i - 200, cuts * 100)) await new Promise((resolve) => setTimeout(resolve, 10))
    }
    await done.promise
    source.close()
    proxy.close()
    expect(seen).toEqual(Array.from({ length: total }, (_, i) => i))
    expect(cuts).toBe(10)
  }, 60_000)
})
