// Reads one simulation a line, and writes one verdict a line: allowed, denied, or the refusal of the input as JSON.
import { createInterface } from 'node:readline'
import { runSimulation } from '@cloud-copilot/iam-simulate'

for await (const line of createInterface({ input: process.stdin })) {
  const answer = await runSimulation(JSON.parse(line), {})
  if (answer.resultType === 'error') {
    console.log(JSON.stringify(answer.errors))
  } else {
    console.log(answer.overallResult === 'Allowed' ? 'allowed' : 'denied')
  }
}
