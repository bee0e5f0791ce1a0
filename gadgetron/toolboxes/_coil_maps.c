/* Coil maps, pixel by pixel: what `_numpy_maps` in coil_maps.py computes, several times faster.

   A few rows of a strip of at most 64 pixels are worked on at a time, so that everything stays in the cache. Samples
   are copied before maps are written, which may so be where the images are. Real and imaginary parts are apart, and
   neighbouring pixels side by side, for vector instructions. Products are summed over neighbouring rows first; what
   several output rows have in common is summed once. Nothing is ever subtracted from a sum, or dark pixels beside
   bright ones would get the bright ones' rounding errors. */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000 /* one binary for Python 3.11 and all later ones */
#include <Python.h>

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

#define LANES 8
#define MAX_STRIP 64    /* pixels */
#define MAX_GROUP 4     /* output rows */
#define MAX_WIDTH 1023  /* of a neighbourhood: sizes of memory do not overflow */
#define COILS_AT_ONCE 2 /* for which registers suffice */

typedef Py_ssize_t size;
typedef float lanes __attribute__((vector_size(4 * LANES)));
typedef float unaligned_lanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

typedef struct {
    const float *images;            /* (coils, z, y, x), complex */
    float *maps;                    /* the same */
    size n_coils, n_z, n_y, n_x;
    size width_z, width_y, width_x; /* of the neighbourhood, odd */
    size iterations;
    size strip, row;        /* pixels of a strip; and with their neighbours: multiples of LANES */
    size whole;             /* pixels of all strips of a row, with neighbours: a multiple of LANES */
    size group, n_rows;     /* output rows; and with their neighbours */
    size n_first;           /* rows that are neighbours of the last ones, when maps are in their place */
    float *first;           /* (n_first, coils, 2, whole): samples of these rows */
    float *samples;         /* (n_rows, width_z, coils, 2, whole): a ring */
    const float **rows;     /* (n_rows, width_z): where each of them is in the ring now */
    float *lines;           /* (group, COILS_AT_ONCE, 2, row + LANES): summed over rows */
    float *sums;            /* (group, coils, 2, strip): images summed over the neighbourhood */
    float *covariance;      /* (group, pairs of coils, 2, strip): and their products */
    lanes *vector, *product; /* (coils, 2) */
} Work;

typedef struct {
    lanes real[COILS_AT_ONCE], imaginary[COILS_AT_ONCE];
} Products;

INLINE lanes load(const float *at) { return *(const unaligned_lanes *)at; }

INLINE void store(float *at, lanes value) { *(unaligned_lanes *)at = value; }

INLINE size wrapped(size index, size n) {
    index %= n;
    return index < 0 ? index + n : index;
}

INLINE void take_apart(const float *source, float *real, float *imaginary, size n) {
    for (size i = 0; i < n; i++) {
        real[i] = source[2 * i];
        imaginary[i] = source[2 * i + 1];
    }
}

/* Fetch a row of all coils, with neighbours at either end. Beyond the border is what is at the opposite one. */
INLINE void fetch(const Work *work, float *target, size z, size y) {
    const size pixels = work->n_z * work->n_y * work->n_x;
    const float *source = work->images + 2 * (wrapped(z, work->n_z) * work->n_y + wrapped(y, work->n_y)) * work->n_x;
    for (size coil = 0; coil < work->n_coils; coil++, source += 2 * pixels, target += 2 * work->whole) {
        size x = wrapped(-(work->width_x / 2), work->n_x);
        for (size i = 0; i < work->whole; x = 0) {
            const size n = work->whole - i < work->n_x - x ? work->whole - i : work->n_x - x;
            take_apart(source + 2 * x, target + i, target + work->whole + i, n);
            i += n;
        }
    }
}

INLINE void sum_along_row(const float *line, float *out, size strip, size width) {
    for (size x = 0; x < strip; x += LANES) {
        lanes total = load(line + x);
        for (size i = 1; i < width; i++) total += load(line + x + i);
        store(out + x, total);
    }
}

/* Sum neighbours along a row. The usual widths have loops of their own, which the compiler unrolls. */
INLINE void sum_neighbours(const float *line, float *out, size strip, size width) {
    switch (width) {
    case 5: sum_along_row(line, out, strip, 5); break;
    case 7: sum_along_row(line, out, strip, 7); break;
    default: sum_along_row(line, out, strip, width);
    }
}

/* Add conj(coil at a) * (n coils from b on) of the rows from first to last - 1; a and b are offsets into rows. */
INLINE void add_products(const Work *work, Products *to, size first, size last, size a, size b, size n) {
    const size whole = work->whole;
    for (size i = first * work->width_z; i < last * work->width_z; i++) {
        const float *samples = work->rows[i];
        const lanes a_real = load(samples + a), a_imaginary = load(samples + a + whole);
        for (size k = 0; k < n; k++) {
            const lanes b_real = load(samples + b + 2 * k * whole);
            const lanes b_imaginary = load(samples + b + (2 * k + 1) * whole);
            to->real[k] += a_real * b_real;
            to->real[k] += a_imaginary * b_imaginary;
            to->imaginary[k] += a_real * b_imaginary;
            to->imaginary[k] -= a_imaginary * b_real;
        }
    }
}

INLINE void put_products(float *line, size length, const Products *common, const Products *part, size n) {
    for (size k = 0; k < n; k++, line += 2 * length) {
        store(line, common->real[k] + part->real[k]);
        store(line + length, common->imaginary[k] + part->imaginary[k]);
    }
}

/* Sum conj(coil i) * (coils j to j + n - 1) over the neighbourhoods of the strip that begins at first_x, into out
   (group, n, 2, strip). */
INLINE void covariance_of(const Work *work, size first_x, size i, size j, size n, float *out, size out_stride) {
    const size row = work->row, length = row + LANES, stride = COILS_AT_ONCE * 2 * length;
    const size group = work->group, width = work->width_y;
    for (size x = 0; x < row; x += LANES) {
        const size a = 2 * i * work->whole + first_x + x, b = 2 * j * work->whole + first_x + x;
        float *line = work->lines + x;
        Products common = {0}, above = {0}, below = {0};
        add_products(work, &common, group - 1, width, a, b, n);
        put_products(line + (group - 1) * stride, length, &common, &above, n);
        for (size m = group - 2; m >= 0; m--) {
            add_products(work, &above, m, m + 1, a, b, n);
            put_products(line + m * stride, length, &common, &above, n);
        }
        for (size m = 1; m < group; m++) {
            add_products(work, &below, width - 1 + m, width + m, a, b, n);
            for (size k = 0; k < n; k++) {
                float *at = line + m * stride + 2 * k * length;
                store(at, load(at) + below.real[k]);
                store(at + length, load(at + length) + below.imaginary[k]);
            }
        }
    }
    for (size m = 0; m < group; m++)
        for (size k = 0; k < 2 * n; k++)
            sum_neighbours(work->lines + m * stride + k * length, out + m * out_stride + k * work->strip, work->strip,
                           work->width_x);
}

/* Sum a coil over the neighbourhoods of the strip that begins at first_x. */
INLINE void sums_of(const Work *work, size first_x, size coil) {
    for (size m = 0; m < work->group; m++)
        for (size part = 2 * coil; part < 2 * coil + 2; part++) {
            for (size x = 0; x < work->row; x += LANES) {
                const size at = part * work->whole + first_x + x;
                lanes total = (lanes){0};
                for (size i = m * work->width_z; i < (m + work->width_y) * work->width_z; i++)
                    total += load(work->rows[i] + at);
                store(work->lines + x, total);
            }
            sum_neighbours(work->lines, work->sums + (2 * m * work->n_coils + part) * work->strip, work->strip,
                           work->width_x);
        }
}

/* 1 / sqrt(power); 0 where there is no power. */
INLINE lanes reciprocal_root(lanes power) {
    float at[LANES];
    store(at, power);
    for (int i = 0; i < LANES; i++) at[i] = at[i] > 0.0f ? 1.0f / sqrtf(at[i]) : 0.0f;
    return load(at);
}

INLINE void normalise(lanes *vector, size n_coils) {
    lanes power = (lanes){0};
    for (size i = 0; i < 2 * n_coils; i++) power += vector[i] * vector[i];
    const lanes scale = reciprocal_root(power);
    for (size i = 0; i < 2 * n_coils; i++) vector[i] *= scale;
}

/* product = covariance * vector, of LANES pixels; of the covariance, the upper triangle is there. */
INLINE void multiply(const float *covariance, const lanes *vector, lanes *product, size n_coils, size strip) {
    for (size i = 0; i < 2 * n_coils; i++) product[i] = (lanes){0};
    for (size i = 0; i < n_coils; i++) {
        const lanes v_real = vector[2 * i], v_imaginary = vector[2 * i + 1], diagonal = load(covariance);
        lanes real = product[2 * i] + diagonal * v_real, imaginary = product[2 * i + 1] + diagonal * v_imaginary;
        covariance += 2 * strip;
        for (size j = i + 1; j < n_coils; j++, covariance += 2 * strip) {
            const lanes c_real = load(covariance), c_imaginary = load(covariance + strip);
            const lanes u_real = vector[2 * j], u_imaginary = vector[2 * j + 1];
            real += c_real * u_real;
            real -= c_imaginary * u_imaginary;
            imaginary += c_real * u_imaginary;
            imaginary += c_imaginary * u_real;
            product[2 * j] += c_real * v_real;
            product[2 * j] += c_imaginary * v_imaginary;
            product[2 * j + 1] += c_real * v_imaginary;
            product[2 * j + 1] -= c_imaginary * v_real;
        }
        product[2 * i] = real;
        product[2 * i + 1] = imaginary;
    }
}

/* Find the main eigenvectors of LANES pixels, and write n of their maps. */
INLINE void maps_of(const Work *work, const float *sums, const float *covariance, float *maps, size n) {
    const size n_coils = work->n_coils, strip = work->strip, pixels = work->n_z * work->n_y * work->n_x;
    lanes *vector = work->vector, *product = work->product;
    for (size i = 0; i < 2 * n_coils; i++) vector[i] = load(sums + i * strip);
    normalise(vector, n_coils);
    for (size iteration = 0; iteration < work->iterations; iteration++) {
        multiply(covariance, vector, product, n_coils, strip);
        normalise(product, n_coils);
        lanes *const previous = vector;
        vector = product;
        product = previous;
    }
    lanes real = (lanes){0}, imaginary = (lanes){0};
    for (size i = 0; i < n_coils; i++) {
        const lanes s_real = load(sums + 2 * i * strip), s_imaginary = load(sums + (2 * i + 1) * strip);
        real += s_real * vector[2 * i] - s_imaginary * vector[2 * i + 1];
        imaginary += s_real * vector[2 * i + 1] + s_imaginary * vector[2 * i];
    }
    const lanes scale = reciprocal_root(real * real + imaginary * imaginary);
    real *= scale;
    imaginary *= scale;
    for (size i = 0; i < n_coils; i++, maps += 2 * pixels) {
        const lanes map_real = vector[2 * i] * real + vector[2 * i + 1] * imaginary;
        const lanes map_imaginary = vector[2 * i] * imaginary - vector[2 * i + 1] * real;
        for (size k = 0; k < n; k++) {
            maps[2 * k] = map_real[k];
            maps[2 * k + 1] = map_imaginary[k];
        }
    }
}

INLINE size least(size a, size b) { return a < b ? a : b; }

/* Estimate the maps of a few rows of a strip, whose samples have been fetched. */
INLINE void maps_of_strip(const Work *work, size z, size y, size x) {
    const size n_coils = work->n_coils, strip = work->strip;
    const size sums_stride = 2 * n_coils * strip, covariance_stride = n_coils * (n_coils + 1) * strip;
    float *out = work->covariance;
    for (size i = 0; i < n_coils; i++) {
        size j = i;
        for (; j + COILS_AT_ONCE <= n_coils; j += COILS_AT_ONCE, out += COILS_AT_ONCE * 2 * strip)
            covariance_of(work, x, i, j, COILS_AT_ONCE, out, covariance_stride);
        for (; j < n_coils; j++, out += 2 * strip) covariance_of(work, x, i, j, 1, out, covariance_stride);
        sums_of(work, x, i);
    }
    for (size m = 0; m < least(work->group, work->n_y - y); m++)
        for (size k = 0; k < least(strip, work->n_x - x); k += LANES)
            maps_of(work, work->sums + m * sums_stride + k, work->covariance + m * covariance_stride + k,
                    work->maps + 2 * ((z * work->n_y + y + m) * work->n_x + x + k), least(LANES, work->n_x - x - k));
}

/* Have row y and its neighbours along z in their place of the ring. Rows beyond the last are the first ones again. */
INLINE void have_row(const Work *work, size place, size z, size y) {
    const size row_size = work->n_coils * 2 * work->whole;
    for (size k = 0; k < work->width_z; k++) {
        float *samples = work->samples + (place * work->width_z + k) * row_size;
        if (y >= work->n_y && y - work->n_y < work->n_first)
            memcpy(samples, work->first + (y - work->n_y) * row_size, row_size * sizeof *samples);
        else
            fetch(work, samples, z + k - work->width_z / 2, y);
    }
}

INLINE void estimate(const Work *work) {
    const size row_size = work->n_coils * 2 * work->whole, half = work->width_y / 2;
    for (size z = 0; z < work->n_z; z++) {
        for (size y = 0; y < work->n_first; y++) fetch(work, work->first + y * row_size, z, y);
        for (size y = 0; y < work->n_y; y += work->group) {
            for (size i = 0; i < work->n_rows; i++) {
                const size place = (y + i) % work->n_rows;
                if (y == 0 || i >= work->width_y - 1) have_row(work, place, z, y + i - half); /* the others are there */
                for (size k = 0; k < work->width_z; k++)
                    work->rows[i * work->width_z + k] = work->samples + (place * work->width_z + k) * row_size;
            }
            for (size x = 0; x < work->n_x; x += work->strip) maps_of_strip(work, z, y, x);
        }
    }
}

#if defined(__x86_64__)
/* The same code again, for processors with these instructions; which ones there are is known when it runs. */
__attribute__((target("avx2,fma"))) static void estimate_avx2(const Work *work) { estimate(work); }

static void estimate_plain(const Work *work) { estimate(work); }

static void run(const Work *work) {
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        estimate_avx2(work);
    else
        estimate_plain(work);
}
#else
static void run(const Work *work) { estimate(work); }
#endif

static size rounded_up(size n, size multiple) { return (n + multiple - 1) / multiple * multiple; }

/* Get memory, without Python's lock. Returns -1 if there is none. */
static int run_with_memory(Work *work) {
    const size n_strips = (work->n_x + MAX_STRIP - 1) / MAX_STRIP, n_coils = work->n_coils;
    work->strip = rounded_up((work->n_x + n_strips - 1) / n_strips, LANES);
    work->row = rounded_up(work->strip + work->width_x - 1, LANES);
    work->whole = rounded_up(n_strips * work->strip + work->width_x - 1, LANES);
    work->group = least(MAX_GROUP, work->width_y);
    work->n_rows = work->width_y + work->group - 1;
    const int is_in_place = work->maps == work->images;
    work->n_first = is_in_place ? work->width_y / 2 + work->group - 1 : 0;
    const size n_slots = work->n_rows * work->width_z;
    const size parts[] = {
        2 * n_coils * LANES,                                   /* vector */
        2 * n_coils * LANES,                                   /* product */
        n_slots * n_coils * 2 * work->whole,                   /* samples */
        work->n_first * n_coils * 2 * work->whole,             /* first */
        work->group * COILS_AT_ONCE * 2 * (work->row + LANES), /* lines */
        work->group * n_coils * 2 * work->strip,               /* sums */
        work->group * n_coils * (n_coils + 1) * work->strip,   /* covariance */
    };
    enum { N_PARTS = sizeof parts / sizeof *parts };
    size n_floats = 64 / sizeof(float);
    for (int i = 0; i < N_PARTS; i++) n_floats += parts[i];
    float *memory = calloc((size_t)n_floats, sizeof(float));
    work->rows = malloc((size_t)n_slots * sizeof *work->rows);
    if (memory != NULL && work->rows != NULL) {
        float *at = (float *)(((uintptr_t)memory + 63) / 64 * 64), *starts[N_PARTS];
        for (int i = 0; i < N_PARTS; at += parts[i++]) starts[i] = at;
        work->vector = (lanes *)starts[0];
        work->product = (lanes *)starts[1];
        work->samples = starts[2];
        work->first = starts[3];
        work->lines = starts[4];
        work->sums = starts[5];
        work->covariance = starts[6];
        run(work);
    }
    const int result = memory != NULL && work->rows != NULL ? 0 : -1;
    free(memory);
    free((void *)work->rows);
    return result;
}

static int is_complex64(const Py_buffer *buffer) {
    return buffer->ndim == 4 && buffer->itemsize == 8 && buffer->format != NULL && strcmp(buffer->format, "Zf") == 0;
}

static PyObject *estimate_buffers(const Py_buffer *images, const Py_buffer *maps, Work *work) {
    if (!is_complex64(images) || !is_complex64(maps) || memcmp(images->shape, maps->shape, 4 * sizeof(Py_ssize_t)) != 0) {
        PyErr_SetString(PyExc_ValueError, "images and maps: complex64 of one shape (coils, z, y, x) expected");
        return NULL;
    }
    if (work->iterations < 0 || work->width_z < 1 || work->width_y < 1 || work->width_x < 1 ||
        work->width_z > MAX_WIDTH || work->width_y > MAX_WIDTH || work->width_x > MAX_WIDTH ||
        work->width_z % 2 == 0 || work->width_y % 2 == 0 || work->width_x % 2 == 0) {
        PyErr_SetString(PyExc_ValueError, "widths: three odd numbers up to 1023 expected; iterations: none or more");
        return NULL;
    }
    work->images = images->buf;
    work->maps = maps->buf;
    work->n_coils = images->shape[0];
    work->n_z = images->shape[1];
    work->n_y = images->shape[2];
    work->n_x = images->shape[3];
    if (work->maps == work->images && (work->width_z > 1 || work->n_y < work->width_y + MAX_GROUP)) {
        PyErr_SetString(PyExc_ValueError, "maps in the place of images: neither neighbours along z nor so few rows");
        return NULL;
    }
    int result = 0;
    if (images->len > 0) {
        Py_BEGIN_ALLOW_THREADS
        result = run_with_memory(work);
        Py_END_ALLOW_THREADS
    }
    if (result < 0) return PyErr_NoMemory();
    Py_RETURN_NONE;
}

static PyObject *estimate_maps(PyObject *module, PyObject *arguments) {
    (void)module;
    PyObject *images_object, *maps_object;
    Py_buffer images, maps;
    Work work = {0};
    if (!PyArg_ParseTuple(arguments, "OO(nnn)n:estimate_maps", &images_object, &maps_object, &work.width_z,
                          &work.width_y, &work.width_x, &work.iterations))
        return NULL;
    if (PyObject_GetBuffer(images_object, &images, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS) < 0) return NULL;
    if (PyObject_GetBuffer(maps_object, &maps, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE) < 0) {
        PyBuffer_Release(&images);
        return NULL;
    }
    PyObject *result = estimate_buffers(&images, &maps, &work);
    PyBuffer_Release(&maps);
    PyBuffer_Release(&images);
    return result;
}

static PyMethodDef functions[] = {
    {"estimate_maps", estimate_maps, METH_VARARGS,
     "estimate_maps(images, maps, widths, iterations)\n--\n\n"
     "Estimate coil maps of images, both (coils, z, y, x), complex64, C-ordered: apart from each other, or the same\n"
     "memory where neighbourhoods are flat and there are some rows more than in one."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT, "_coil_maps", "Coil maps, compiled; see coil_maps.py.", 0, functions, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__coil_maps(void) { return PyModuleDef_Init(&module_definition); }
