package doubles

const permutationDoc = `
Poseidon2 of width 16 over the field of integers modulo p, the scalar field of BN254, in
multiply-adds of doubles. How doubles multiply exactly, and what is asked of rounding, stands at the
head of ../fp381/avx2_amd64.s; here limbs have 51 bits instead of 49.

A block is an element of each of eight states, limb after limb: limb i of lane l is the double in
word [i][l]. A vector of four uses the first four lanes. A value is the sum of its limbs
x[i]*2^(51*i), i = 0..4, and stands for x/R with R = 2^255. Limbs are integers of at most 2^50 +
2^4 in magnitude in memory, and the value less than 0.501*p, which is called tight: a top limb has
49 bits at most then.

PRODUCTS. With B = 1.5*2^103, whose last place is 2^51,

    h' = a*b + h        rounded once, to a multiple of 2^51
    e  = a*b + (h - h') exact, |e| <= 2^50

for h - B less than 2^102 in magnitude: that is less than four products of whole limbs. Low halves
and carries of a column must stay within 2^53: that is less than eight low halves. Both are less
than a multiplication needs. So the generator tracks a bound for every limb and every sum, from the
bounds of what is loaded and the very constants, and refuses a program one of whose operations
could be inexact. Where the next product could make a column too long it carries first: the high
halves to the next column, (h - B)/2^51, or of the low ones what is a multiple of 2^51.

MULTIPLICATION clears two columns with one quotient, then one, one, and the last one with p itself.
As p < 2^253.6, for |x| < a*p, |y| < b*p the result is less than (0.379*a*b + 0.751)*p. A fifth
power of a tight value is less than 0.95*p, and is tightened.

TIGHTENING subtracts q*p, for the integer q next to v*2^204/p, where v is the top limb, of which
carries from below are missing: next to nothing in 2^49. Where q*p[i] fits beside what the limb
has, one multiply-add takes it off exactly, without halves; for the top limb it always does, for
what is left of it is small.

EXTERNAL MATRIX: M4 of each four elements, and M4 of the sum of all fours, which is the sum of
their M4. Rows of M4 add up to 16: sums of limbs are carried halfway, so that none is longer than
six limbs, and of tight values they are less than 8.1*p.

INTERNAL ROUNDS. With y = x0^5 and s = y + x1 + ... + x15 the new elements are di*xi + s, d0*y + s.
x*d is the sum of x[i]*D_i/2^51 modulo p, over the limbs of x, with the residues
D_i = d*2^(51*(i+1)), tight: 25 products as in a multiplication, but only one column is to be
cleared. The next S-box waits for nothing but the first element. So the others, in two halves, are
computed in turn with it, operation by operation.

REGISTERS are laid out by a program: see ../../asm/straight. R8 is the table of constants, R13 the
frame.
`
