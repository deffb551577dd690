// Runs a command with a fresh hub, whose URL is in HUB_URL, and exits as it does.
//
// usage: node with-hub.mjs COMMAND...

import { spawn } from "node:child_process"
import { startHub } from "./hub.mjs"

const hub = await startHub("disk")
const [command, ...args] = process.argv.slice(2)
const child = spawn(command, args, { stdio: "inherit", env: { ...process.env, HUB_URL: hub.url } })
const code = await new Promise((resolve) => {
  child.once("error", (error) => (console.error(`${command}: ${error.message}`), resolve(127)))
  child.once("exit", (code) => resolve(code ?? 1))
})
if (code !== 0) console.error(hub.log())
await hub.stop()
process.exitCode = code
