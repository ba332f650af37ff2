// Package doubles generates the assembly of kernels/fp381 in multiply-adds of doubles, for vectors
// of four and of eight. Routines are straight-line programs on limbs, which package straight lays
// into the registers of a machine.
package doubles

const doc = `
The field of integers modulo p, the base field of BLS12-381, in multiply-adds of doubles.

A block is eight field elements, limb after limb: limb i of lane l is the double in word [i][l].
A value is the sum of its limbs x[i]*2^(49*i), i = 0..7. A limb is an integer from -2^48 to 2^48
or, where many carried at once, up to 2^6 beyond. A value may be negative. No limb is a zero
with a sign, so that a lane is zero if its words are.

ROUNDING. All arithmetic here is that of IEEE 754 with rounding to the nearest, which is how Go
runs (MXCSR 0x1f80). Every result is exact but for two that are meant to round, h and r below.
Operands and results are zero or integers, or at least 2^-50 in magnitude, so that subnormal
numbers do not occur, and how the CPU treats them does not matter. Under another rounding the
quotients of two of the routines would be wrong: the self-test at the start sees that.

PRODUCTS. B = 1.5*2^101 is a double whose last place is 2^49, and so is any number less than
2^100 away from it. Let a and b be limbs, and h a sum of such products above B. Then

    h' = a*b + h        rounded once, to a multiple of 2^49: h grows by the high half of the product
    d  = h - h'         exact: a multiple of 2^49 of less than 53 bits
    e  = a*b + d        exact: what the rounding has cut off, the low half, |e| <= 2^48
    l' = l + e          exact while |l'| <= 2^53

are four operations for a product and no instruction to carry: two multiply-adds and two
additions. Column c, of weight 2^(49c), is the sum l[c] of low halves, and the number of 2^49 in
the sum h[c-1] - B of the high halves of the column before. It is gathered once: l[c] + (h[c-1]
- B)/2^49.

ROUNDING A COLUMN. r = (v + B) - B is the multiple of 2^49 next to v. v - r is a limb, and
r/2^49 goes to the next column. Columns of a result carry all at once: |r/2^49| <= 2^4, which is
what limbs may be beyond 2^48.

MULTIPLICATION computes x*y/R modulo p with R = 2^392. The products of x and y stand in columns
0 to 15. Let k = -1/p modulo 2^(49n), the least absolute residue, and N = k*p, so that N = -1
modulo 2^(49n). Adding q*N, where q is the value of the lowest n columns, makes these zero: the
quotient's limbs are the columns themselves, rounded, and need no product. As N + 1 = 2^(49n)*M,
what remains to be added from column n on is q*M. M has eight limbs, whatever n is.

    A quotient of n limbs makes a result no shorter than n limbs more than p. But what is left
    to clear may be as long: of 16 columns, four are cleared at once, then two, and one. The
    last one is cleared with p itself, q = limb*k, for else the result would be as long as N. So
    a multiplication waits for four quotients, and not for eight one after another.

    Of each multiplication 64 products are those of x and y, and 64 those of quotients. A
    squaring takes a limb twice instead of two products: 36 and 64.

BOUNDS. A column has at most 7 products of whole limbs from x*y (column 6), and with those of
quotients at most 14 (column 7: 6 from x*y, 4, 2, 1 and 1 from the quotients), besides two with
a top limb, which has 44 bits at most for values below 2^8*p. So sums of high halves are less
than 15*2^96 < 2^100 away from B, as h must be. Low halves are at most 16, less than 2^52, and
the high halves before add less than 15*2^47: a gathered column is less than 2^53, and exact.
Doubled limbs count twice, and have one low half.

The quotients add less than 2^(49n-1)*N*2^(49c) each for columns from c on, N <= 2^(49n-1)*p. By
2^392 that is, for n = 4, c = 0; n = 2, c = 4 and n = 1, c = 6, p/4 each, and for the last one,
which adds 2^48*p*2^343, p/2: 1.25*p together. As p < 2^380.71, the product adds a*b*p/2^11.29
for |x| < a*p, |y| < b*p. For a*b <= 1600 the result is less than 1.9*p.

THE EXTENSION: after Gauss, (x0 + x1)*y0 + x0*(y1 - y0) and (x0 + x1)*y0 - x1*(y0 + y1), with
three products and two reductions. Sums are carried before they are multiplied. The columns of
the first product are gathered and serve both coordinates. Then a column has at most two
products' columns: in units of 2^48, 7 low halves and 7/2 for the high ones, or less, of each.
With the quotients' 8 and 4, columns 7, 8 and 9 could come to 33 > 2^5 units, so these three are
rounded before the quotients are added. For |x|, |y| < 20*p a coordinate is a sum of products
less than 800*p^2.

TIGHTENING subtracts q*p from the columns of a result, before they carry, for the integer q next
to v*2^343/p, where v is the top column. v is off by what the columns below carry, less than 2^5
in 2^37.7, so that what is left is less than 0.51*p in magnitude: the least absolute residue, or
one as good. |q| <= 2^8, and q*p takes one product a limb.

WORDS of a canonical residue, for conversions, are unsigned limbs of 49 bits. Limb by limb, what
is not in [0, 2^49) is carried: r is the multiple of 2^49 next to v - 2^48 + 1/2, and that is
next below v. If the last limb is negative then, p is added, and carried again. Words become
doubles, and doubles words, by adding 2^52, whose last place is 1.

LINES. A value z = g + h*w of Fp12 = Fp2[w]/(w^6 - xi), g and h in Fp6 = Fp2[v], v = w^2, v^3 =
xi = 1 + u, becomes 2*z*(f + s*v + v*w). As a polynomial of v, g*(f + s*v) has degree 3: it is
interpolated from its values r at 0, m at -1, n at 1, and k at infinity, with four products in
Fp2. The doubling saves halving:

    2*g*(f + s*v) = 2*r + (n - m - 2*k)*v + (n + m - 2*r)*v^2 + 2*k*v^3.

lineFactors and lineEvaluate lay out the factors, mul2Blocks multiplies them, and lineCombine
puts the products together, adds 2*z*v*w, and tightens. At most ten limbs, or twice five, make a
column there, less than 2^52. For z < 2*p, f and s < 4*p the factors are less than 6*p and 8*p,
and a coordinate lies within 40*p.

REGISTERS are laid out by a program: see ../straight. A routine keeps in R8 the table of
constants, in R13 its frame for what does not fit into registers, and in R11 and R12, where a
vector is half a block, the steps to the next half.
`
