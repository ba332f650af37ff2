// Compiles a standard JSON input from standard input, and writes the compiler's output.
'use strict'
const solc = require('solc')
const input = require('fs').readFileSync(0, 'utf8')
process.stdout.write(solc.compile(input))
