// Runs the suites against the real binary on both engines, and says what passed.
//
// usage: node run.mjs [disk] [memory]
//
// A test may fail only if it is listed in the file that QUINTET_KNOWN_FAILURES names (`engine: full name of the test`, a
// line each); one that is listed and passes has to be struck off. Without the variable nothing may fail.

import { spawnSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { startHub } from "./hub.mjs"

const here = dirname(fileURLToPath(import.meta.url))
const engines = process.argv.length > 2 ? process.argv.slice(2) : ["disk", "memory"]
const known = readKnown(process.env.QUINTET_KNOWN_FAILURES)
const total = { passed: 0, failed: 0 }

for (const engine of engines) {
  for (const file of ["suite", "clients"]) {
    const { counts, failures, passes } = await run(engine, file)
    const fresh = failures.filter(({ name }) => !known.has(`${engine}: ${name}`))
    const stale = passes.filter((name) => known.has(`${engine}: ${name}`))
    for (const { name, message } of fresh) console.log(`FAILED ${engine}: ${name}\n${indent(message)}`)
    for (const name of stale) console.log(`FAILED ${engine}: ${name}\n    passes now; strike it off the known failures`)
    const tolerated = failures.length - fresh.length
    const aside = tolerated > 0 ? `, ${tolerated} known to fail` : ""
    console.log(`conformance ${file} on ${engine}: ${counts.passed} passed, ${fresh.length} failed, ${counts.skipped} skipped${aside}`)
    total.passed += counts.passed - stale.length
    total.failed += fresh.length + stale.length
  }
}
console.log(`conformance: ${total.passed} passed, ${total.failed} failed`)
process.exitCode = total.failed > 0 ? 1 : 0

async function run(engine, file) {
  const hub = await startHub(engine)
  const dir = mkdtempSync(join(tmpdir(), "quintet-vitest-"))
  const report = join(dir, "report.json")
  const vitest = join(here, "node_modules/vitest/vitest.mjs")
  const args = [vitest, "run", `${file}.test.mjs`, "--reporter=json", `--outputFile=${report}`]
  const env = { ...process.env, HUB_URL: hub.url, CI: "true", NO_COLOR: "1" }
  const child = spawnSync(process.execPath, args, { cwd: here, env, encoding: "utf8", maxBuffer: 1 << 28 })
  try {
    return read(JSON.parse(readFileSync(report, "utf8")))
  } catch (error) {
    throw new Error(`vitest left no report: ${error}\n${child.stdout}\n${child.stderr}\n${hub.log()}`)
  } finally {
    rmSync(dir, { recursive: true, force: true })
    await hub.stop()
  }
}

function read(report) {
  const tests = report.testResults.flatMap((file) => file.assertionResults)
  const named = (status) => tests.filter((test) => test.status === status)
  const failures = named("failed").map(({ fullName, failureMessages }) => ({ name: fullName, message: failureMessages[0] ?? "" }))
  // A file that does not even load has no tests, and has failed all the same.
  for (const file of report.testResults) {
    if (file.status === "failed" && file.assertionResults.length === 0) failures.push({ name: file.name, message: file.message })
  }
  const passes = named("passed").map((test) => test.fullName)
  const skipped = tests.length - passes.length - named("failed").length
  return { counts: { passed: passes.length, skipped }, failures, passes }
}

function readKnown(path) {
  if (!path) return new Set()
  const lines = readFileSync(path, "utf8").split("\n").map((line) => line.trim())
  return new Set(lines.filter((line) => line && !line.startsWith("#")))
}

function indent(text) {
  return text.split("\n").slice(0, 12).map((line) => `    ${line}`).join("\n")
}
