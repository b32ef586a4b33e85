// Linear attention that remembers sums in place of keys and values. Included by kernels.inl.
//
// Positions are taken in blocks of 16, counted from 0. A row reads the sums of the blocks before its own,
// then the rows before it in its block; a full block enters the sums. So a row's bits depend on its
// position alone, never on how the work was cut. Zeros of a query cost nothing.

TG_INLINE float dot(const float *a, const float *b, int64_t count) {
    v16 parts[4]{};
    int64_t i = 0;
    for (; i + 64 <= count; i += 64)
        for (int j = 0; j < 4; ++j) parts[j] += load(a + i + 16 * j) * load(b + i + 16 * j);
    for (; i + 16 <= count; i += 16) parts[0] += load(a + i) * load(b + i);
    float total = sum((parts[0] + parts[1]) + (parts[2] + parts[3]));
    for (; i < count; ++i) total += a[i] * b[i];
    return total;
}

/// `Rows` rows from `row` on share what is read of the sums; a zero that is not skipped adds nothing.
template <int Rows, int Vectors>
TG_INLINE void recall_tile(const RecallItem &item, int64_t row, int64_t column) {
    v16 acc[Rows][Vectors]{};
    const float *queries = item.queries + (item.first + row) * item.width;
    for (int64_t n = 0; item.sums && n < item.width; ++n) {
        float query[Rows];
        bool any = false;
        for (int r = 0; r < Rows; ++r) any |= (query[r] = queries[r * item.width + n]) != 0;
        if (!any) continue;
        for (int j = 0; j < Vectors; ++j) {
            const v16 sums = load(item.sums + n * item.dim + column + 16 * j);
            for (int r = 0; r < Rows; ++r) acc[r][j] += query[r] * sums;
        }
    }
    for (int r = 0; r < Rows; ++r) {
        const int64_t place = item.first + row + r;
        for (int64_t before = 0; before < place; ++before) {
            const float weight = item.weights[place * 16 + before];
            for (int j = 0; j < Vectors; ++j)
                acc[r][j] += weight * load(item.values + before * item.dim + column + 16 * j);
        }
        for (int j = 0; j < Vectors; ++j)
            store(item.out + (row + r) * item.dim + column + 16 * j, acc[r][j]);
    }
}

template <int Vectors>
TG_INLINE void recall_columns(const RecallItem &item, int64_t column) {
    int64_t row = 0;
    for (; row + 4 <= item.rows; row += 4) recall_tile<4, Vectors>(item, row, column);
    for (; row < item.rows; ++row) recall_tile<1, Vectors>(item, row, column);
}

/// What rows `first ..< first + rows` of a block recall, in columns `from ..< to`.
static void recall(const RecallItem &item, int64_t from, int64_t to) {
    int64_t column = from;
    for (; column + 64 <= to; column += 64) recall_columns<4>(item, column);
    for (; column + 16 <= to; column += 16) recall_columns<1>(item, column);
    for (; column < to; ++column) {
        for (int64_t r = 0; r < item.rows; ++r) {
            const float *query = item.queries + (item.first + r) * item.width;
            float acc = 0;
            if (item.sums) {
                for (int64_t n = 0; n < item.width; ++n) {
                    if (query[n] != 0) acc += query[n] * item.sums[n * item.dim + column];
                }
            }
            for (int64_t before = 0; before < item.first + r; ++before) {
                acc += item.weights[(item.first + r) * 16 + before] *
                       item.values[before * item.dim + column];
            }
            item.out[r * item.dim + column] = acc;
        }
    }
}

/// weights[row][before] = query of `row` · query of `before`, for the rows before it in the block.
static void compare(const float *queries, int64_t width, int64_t row, float *weights) {
    for (int64_t before = 0; before < row; ++before)
        weights[row * 16 + before] = dot(queries + row * width, queries + before * width, width);
}

/// Adds a full block to rows `from ..< to` of the sums.
static void fold(const float *queries, const float *values, float *sums, int64_t width, int64_t dim,
                 int64_t from, int64_t to) {
    for (int64_t n = from; n < to; ++n) {
        float *row = sums + n * dim;
        for (int64_t r = 0; r < 16; ++r) {
            const float query = queries[r * width + n];
            if (query == 0) continue;
            const float *value = values + r * dim;
            int64_t d = 0;
            for (; d + 16 <= dim; d += 16) store(row + d, load(row + d) + query * load(value + d));
            for (; d < dim; ++d) row[d] += query * value[d];
        }
    }
}

/// Pairs of neighbours of a row turned by their angles.
static void turn_pairs(float *row, const float *cosines, const float *sines, int64_t pairs) {
    for (int64_t i = 0; i < pairs; ++i) {
        const float a = row[2 * i], b = row[2 * i + 1];
        row[2 * i] = a * cosines[i] - b * sines[i];
        row[2 * i + 1] = b * cosines[i] + a * sines[i];
    }
}
