// The public conformance suite of the Durable Streams protocol, as it comes. Its own command finds no tests when it is
// installed under node_modules, so its tests are declared from here.

import { runConformanceTests } from "@durable-streams/server-conformance-tests"

runConformanceTests({ baseUrl: process.env.HUB_URL })
