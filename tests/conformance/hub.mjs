// Starts the real hub for the suites here: on a free port, in a folder of its own, gone with this process.

import { spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { dirname, join, resolve } from "node:path"
import { fileURLToPath } from "node:url"

const repository = resolve(dirname(fileURLToPath(import.meta.url)), "../..")

/** The binary under test. */
export const binary = resolve(process.env.QUINTET_BIN ?? join(repository, "target/release/quintet"))

/** Starts a hub on `disk` or in `memory`. */
export async function startHub(engine) {
  const dir = mkdtempSync(join(tmpdir(), "quintet-conformance-"))
  const port = await freePort()
  const where = engine === "memory" ? ["--memory"] : ["--data-dir", join(dir, "data")]
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("QUINTET_")))
  const child = spawn(binary, ["serve", "--listen", `127.0.0.1:${port}`, ...where], { cwd: dir, env })
  let log = ""
  const keep = (chunk) => (log = (log + chunk).slice(-20_000))
  child.stdout.on("data", keep)
  child.stderr.on("data", keep)
  const ended = new Promise((resolve) => child.once("exit", resolve))
  const kill = () => child.kill("SIGKILL")
  process.once("exit", kill)
  const url = `http://127.0.0.1:${port}`
  const deadline = Date.now() + 60_000
  while (!(await answers(url))) {
    if (child.exitCode !== null || Date.now() > deadline) throw new Error(`the hub does not answer:\n${log}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  return {
    url,
    log: () => log,
    async stop() {
      kill()
      await ended
      process.removeListener("exit", kill)
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

async function answers(url) {
  return fetch(`${url}/health`).then((response) => response.ok, () => false)
}

/** Below the ports that the system gives to outgoing connections, so that nobody takes it in between. */
async function freePort() {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 22_000)
    const server = createServer()
    const free = await new Promise((resolve) => {
      server.once("error", () => resolve(false))
      server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)))
    })
    if (free) return port
  }
}
